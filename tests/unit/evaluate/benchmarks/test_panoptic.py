"""Segments from proposals, and their names."""

import numpy as np
import pytest

from umgclip.evaluate.benchmarks.panoptic import Panoptic, assemble, cut_proposals, name_proposals
from umgclip.evaluate.examples import read_examples
from umgclip.geometry import masks as mask_ops
from umgclip.records import Region, Text


def proposal(box, score, **more):
    x0, y0, x1, y1 = box
    mask = np.zeros((24, 24), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return Region(id=f"{box}", box_xyxy=box, mask=mask_ops.encode(mask), score=score, **more)


@pytest.fixture
def example(toy, kit):
    """Apple at (2, 2), boat at (14, 2), each 8 x 8, on grass."""
    return next(read_examples(toy, kit.CLASSES))


def test_the_better_proposal_keeps_what_is_shared():
    cut = cut_proposals([proposal((0, 0, 10, 10), 0.5), proposal((6, 0, 12, 10), 0.9)], (24, 24), 0.5)
    assert [int(mask.sum()) for mask in cut] == [60, 60]
    assert not (cut[0] & cut[1]).any()


def test_a_proposal_of_which_too_little_is_left_is_dropped():
    shared = [proposal((0, 0, 10, 10), 0.9), proposal((0, 0, 10, 20), 0.5), proposal((0, 0, 10, 10), 0.4)]
    assert len(cut_proposals(shared, (24, 24), 0.5)) == 2
    assert len(cut_proposals(shared, (24, 24), 0.51)) == 1


def test_stuff_and_boxes_are_no_proposals():
    stuff = proposal((0, 0, 10, 10), 0.9, is_stuff=True)
    box = proposal((0, 0, 10, 10), 0.9).model_copy(update={"mask": None})
    assert cut_proposals([stuff, box], (24, 24), 0.5) == []


def test_proposals_are_named_by_the_model_never_by_the_annotator(example, read_with, kit):
    reader = read_with(kit.ColourTower())
    wrong = {"tags": [Text(text="fox", source="x")], "captions": [Text(text="a fox", source="x")]}
    found = name_proposals(reader, reader.see([example]).dense[0], example, [proposal((2, 2, 10, 10), 0.9, **wrong)])
    # the boat was not proposed and lies in the ground, which is mostly grass
    assert sorted(found.label_of.values()) == [0, 6]


def test_unsure_proposals_fall_to_the_ground(example, read_with, kit):
    proposals = [proposal((2, 2, 10, 10), 0.9), proposal((2, 14, 10, 22), 0.8)]  # the second is bare grass
    reader = read_with(kit.ColourTower())
    found = name_proposals(reader, reader.see([example]).dense[0], example, proposals)
    assert sorted(found.label_of.values()) == [0, 6]
    assert found.ids[18, 5] == found.ids[0, 0]


def test_an_image_without_proposals_is_all_ground(example, read_with, kit):
    reader = read_with(kit.ColourTower())
    found = name_proposals(reader, reader.see([example]).dense[0], example, [])
    assert list(found.label_of.values()) == [6]
    assert len(np.unique(found.ids)) == 1


def test_two_areas_of_one_stuff_are_one_segment_two_of_a_thing_are_two(kit):
    masks = [np.zeros((4, 4), dtype=bool) for _ in range(4)]
    for row, mask in enumerate(masks):
        mask[row] = True
    found = assemble(masks, [7, 2, 7, 2], kit.CLASSES, (4, 4))
    assert found.label_of == {1: 7, 2: 2, 4: 2}
    assert found.ids[:, 0].tolist() == [1, 2, 1, 4]


def test_missing_proposals_cost_the_things_but_not_true_masks(example, read_with, kit):
    reader = read_with(kit.ColourTower())
    benchmark = Panoptic(reader, {"proposals": {}})
    benchmark.add([example], reader.see([example]))
    found = dict(benchmark.results())
    assert found["pq_true_masks"] == pytest.approx(1.0)
    # apple and boat missed; grass matched with IoU (576 - 128) / 576
    assert found["pq_proposals"] == pytest.approx((448 / 576) / 3)
