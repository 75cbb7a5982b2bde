"""What annotations become: disjoint masks with names, on the canvas."""

import numpy as np
import pytest

from umgclip.data.stream import Sample
from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.model.clip.preprocess import Preprocess
from umgclip.records import ImageRecord, Region, Source, Text
from umgclip.segment.targets import FINER, UNNAMED, Canvas, collate, disjoint, place

SIDE = 8


def region(number, rows, name=None, *, is_stuff=False, score=1.0, side=SIDE):
    mask = np.zeros((side, side), bool)
    mask[rows] = True
    tags = [] if name is None else [Text(text=name, source="human")]
    box = (0.0, 0.0, float(side), float(side))
    return Region(id=f"{number}", box_xyxy=box, mask=mask_ops.encode(mask), is_stuff=is_stuff, score=score, tags=tags)


def rows_of(found):
    return [(label, np.flatnonzero(mask.any(axis=1)).tolist()) for label, mask in found]


def test_things_cover_stuff_and_later_things_earlier_ones():
    regions = [
        region(0, slice(0, 3), "cat"),
        region(1, slice(2, 5), "dog"),
        region(2, slice(0, 8), "grass", is_stuff=True),
    ]
    found = disjoint(regions, (SIDE, SIDE), unnamed=False)
    assert rows_of(found) == [(("grass", True), [5, 6, 7]), (("cat", False), [0, 1]), (("dog", False), [2, 3, 4])]


def test_stuff_of_one_name_is_one_mask():
    regions = [region(0, slice(0, 2), "sky", is_stuff=True), region(1, slice(6, 8), "sky", is_stuff=True)]
    assert rows_of(disjoint(regions, (SIDE, SIDE), unnamed=False)) == [(("sky", True), [0, 1, 6, 7])]


def test_regions_without_a_name_lie_under_the_named_and_count_only_where_most_of_them_is_left():
    regions = [
        region(0, slice(0, 4), "cat"),
        region(1, slice(2, 5), score=0.9),  # a third is left
        region(2, slice(5, 8), score=0.5),
        region(3, slice(7, 8), score=0.8),  # better than the one before, and takes a row of it
        region(4, slice(0, 8), is_stuff=True),
    ]
    assert rows_of(disjoint(regions, (SIDE, SIDE), unnamed=False)) == [(("cat", False), [0, 1, 2, 3])]
    found = disjoint([regions[i] for i in (0, 1, 3, 4)], (SIDE, SIDE), unnamed=True)
    assert rows_of(found) == [(None, [5, 6]), (None, [7]), (("cat", False), [0, 1, 2, 3])]


def test_a_mask_of_another_size_is_refused_by_its_region():
    with pytest.raises(InputError, match=r"region 7: expected a mask of size \(8, 8\), got \(4, 4\)"):
        disjoint([region(7, slice(0, 2), "cat", side=4)], (SIDE, SIDE), unnamed=False)


def canvas(resize="squash"):
    return Canvas(
        SIDE, 2, unnamed=True, min_window=1.0, relight=0.0, mirror_share=0.5, resize=resize, preprocess=Preprocess()
    )


def sample(width, height):
    """A bright left half, which is a cat's."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = 200
    region = Region(
        id="0",
        box_xyxy=(0.0, 0.0, width / 2, float(height)),
        mask=mask_ops.encode(pixels[..., 0] > 0),
        tags=[Text(text="cat", source="human")],
    )
    record = ImageRecord(
        key="k", width=width, height=height, sha256="0" * 64, source=Source(dataset="d"), regions=[region]
    )
    return Sample(pixels, record)


@pytest.mark.parametrize("seed", range(4))
def test_masks_move_with_the_image(seed):
    one = place(sample(16, 16), frozenset(), canvas(), np.random.default_rng(seed))
    bright = one.pixels[:: SIDE // (2 * FINER), :: SIDE // (2 * FINER), 0] > 100
    assert one.masks.shape == (1, 2 * FINER, 2 * FINER)
    assert ((one.masks[0] > 0.5) == bright).all()


def test_padding_holds_no_mask_and_is_marked():
    one = place(sample(16, 8), frozenset(), canvas("pad"), np.random.default_rng(0))
    batch = collate([one], canvas("pad"), {("cat", False): 3})
    assert batch.valid.tolist() == [[[True, True], [False, False]]]
    assert batch.masks[0][0, FINER:].sum() == 0
    assert batch.labels[0].tolist() == [3]


def test_a_name_that_the_step_has_no_row_for_counts_as_none():
    one = place(sample(16, 16), frozenset(), canvas(), np.random.default_rng(0))
    assert collate([one], canvas(), {("dog", False): 0}).labels[0].tolist() == [UNNAMED]
    assert place(sample(16, 16), frozenset({"0"}), canvas(), np.random.default_rng(0)).labels == []
