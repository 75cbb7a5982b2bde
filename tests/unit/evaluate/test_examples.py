"""Reading a benchmark and its truth."""

import numpy as np
import pytest

from umgclip.errors import DataError
from umgclip.evaluate.examples import batched, open_benchmark, read_examples
from umgclip.geometry import masks as mask_ops
from umgclip.records import Text


def test_examples_hold_pixels_and_truth(toy, kit):
    first = next(read_examples(toy, kit.CLASSES))
    assert first.captions == ("a apple and a boat",)
    assert first.tags == (0, 1)  # the stuff is tagged too, but tags are of things
    assert [region.label for region in first.things] == [0, 1]
    assert [region.label for region in first.stuff] == [6]
    assert not first.single


def test_batches_hold_singles_or_scenes_never_both(toy, kit):
    sizes = [(len(batch), batch[0].single) for batch in batched(read_examples(toy, kit.CLASSES), 10)]
    assert sizes == [(10, False), (10, False), (7, False), (6, True)]


def test_a_thing_covers_stuff_and_void_stays_void(kit, tmp_path):
    drawn = kit.draw([0], 0)
    ground = np.zeros((kit.SIDE, kit.SIDE), dtype=bool)
    ground[:12] = True  # reaches under the thing, and leaves the lower half of the image void
    thing, stuff = drawn.record.regions
    stuff = stuff.model_copy(update={"mask": mask_ops.encode(ground)})
    record = drawn.record.model_copy(update={"regions": [thing, stuff]})
    folder = kit.write_dataset(tmp_path / "b", [kit.Drawn(drawn.image, record)], kit.TOY_CLASSES)
    ids, label_of = next(read_examples(folder, kit.CLASSES)).segments
    assert sorted(label_of.values()) == [0, 6]
    label = {segment: label for segment, label in label_of.items()} | {0: -1}
    assert (label[ids[5, 5]], label[ids[0, 0]], label[ids[20, 20]]) == (0, 6, -1)


def test_regions_without_classes_are_named(kit, tmp_path):
    folder = kit.write_dataset(tmp_path / "b", kit.singles(), None)
    _, classes = open_benchmark(folder)
    with pytest.raises(DataError, match=r"region 0: expected a tag among the things of the manifest"):
        list(read_examples(folder, classes))


def test_an_empty_benchmark_is_named(kit, tmp_path):
    folder = kit.write_dataset(tmp_path / "b", [], kit.TOY_CLASSES)
    with pytest.raises(DataError, match=r"b: expected at least one sample"):
        open_benchmark(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tags": [Text(text="yak", source="human")]}, "region 0: expected a tag among the things .* got 'yak'"),
        (
            {"mask": mask_ops.encode(np.ones((3, 3), dtype=bool))},
            r"regions.0.mask.size: expected \(24, 24\) as the image, got \(3, 3\)",
        ),
        ({"mask": mask_ops.encode(np.zeros((24, 24), dtype=bool))}, "expected a mask with pixels, got an empty one"),
    ],
)
def test_a_truth_that_does_not_fit_is_named(kit, tmp_path, change, message):
    drawn = kit.draw([0], 0)
    regions = [drawn.record.regions[0].model_copy(update=change), *drawn.record.regions[1:]]
    record = drawn.record.model_copy(update={"regions": regions})
    folder = kit.write_dataset(tmp_path / "b", [kit.Drawn(drawn.image, record)], kit.TOY_CLASSES)
    with pytest.raises(DataError, match=message):
        list(read_examples(folder, kit.CLASSES))


def test_a_single_of_two_things_is_named(kit, tmp_path):
    folder = kit.write_dataset(tmp_path / "b", [kit.draw([0, 1], 0, "toy/singles")], kit.TOY_CLASSES)
    with pytest.raises(DataError, match="expected one tag .*, got 2 tags and regions of 2 things"):
        list(read_examples(folder, kit.CLASSES))
