"""The grouping of segments against one that compares all pairs again after each join."""

import itertools

import cv2
import numpy as np
import pytest

from umgclip.geometry import masks as mask_ops
from umgclip.geometry.background import smooth_lab
from umgclip.params import DataParams, ProposerParams
from umgclip.proposals.grouping import grouped, segment_boxes
from umgclip.proposals.mask_tree import MaskTree
from umgclip.sources.demo.classes import things
from umgclip.sources.demo.scenes import compose


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    return compose([things()[i] for i in (2, 40, 77)], DataParams(), rng)


def squares(rows: int, columns: int, side: int = 6) -> np.ndarray:
    numbers = np.arange(rows * columns).reshape(rows, columns)
    return numbers.repeat(side, 0).repeat(side, 1)


def histogram(lab: np.ndarray, mask: np.ndarray) -> np.ndarray:
    levels = np.clip(lab[mask] / 32, 0, 7).astype(int) @ [64, 8, 1]
    return np.bincount(levels, minlength=512) / mask.sum()


def touches(one: np.ndarray, other: np.ndarray) -> bool:
    wider = cv2.dilate(one.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    return bool((wider.astype(bool) & other).any())


def similarity(lab: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Selective search's similarity of two regions, by their pixels."""
    both, size = one | other, one.size
    x0, y0, x1, y1 = mask_ops.box_of(both)
    colour = np.minimum(histogram(lab, one), histogram(lab, other)).sum()
    return colour + 3 * (1 - both.sum() / size) + 3 * (1 - ((x1 - x0) * (y1 - y0) - both.sum()) / size)


def joined_slowly(segments: np.ndarray, numbers: list[int], lab: np.ndarray) -> list[np.ndarray]:
    """Return the masks of all segments and unions; of equal pairs the latest regions join."""
    masks = [segments == number for number in numbers]
    alive = set(range(len(masks)))
    while pairs := [(a, b) for a, b in itertools.combinations(sorted(alive), 2) if touches(masks[a], masks[b])]:
        a, b = max(pairs, key=lambda pair: (round(similarity(lab, masks[pair[0]], masks[pair[1]]), 9), pair))
        alive = (alive - {a, b}) | {len(masks)}
        masks.append(masks[a] | masks[b])
    return masks


def masks_of(segments: np.ndarray, numbers: list[int], lab: np.ndarray) -> list[np.ndarray]:
    boxes = segment_boxes(segments, int(segments.max()) + 1)
    return [row[segments] for row in grouped(segments, np.array(numbers, int), boxes, lab)]


def test_unions_are_those_of_the_slow_grouping(scene):
    lab = smooth_lab(scene.pixels[:48, :48])
    segments = squares(8, 8)
    expected, actual = (join(segments, list(range(64)), lab) for join in (joined_slowly, masks_of))
    assert len(actual) == 127
    assert [one.tobytes() for one in actual] == [one.tobytes() for one in expected]


def test_segments_that_are_no_things_stay_out():
    lab = smooth_lab(np.random.default_rng(0).integers(0, 256, (18, 30, 3), dtype=np.uint8))
    segments, numbers = squares(3, 5), [0, 1, 3, 4, 5, 9, 10, 14]  # 7 is all around, and 12 between two
    expected, actual = (join(segments, numbers, lab) for join in (joined_slowly, masks_of))
    assert [one.tobytes() for one in actual] == [one.tobytes() for one in expected]
    assert not any(one[segments == 7].any() for one in actual)


@pytest.mark.parametrize("numbers", [[], [3]])
def test_nothing_and_one_segment_are_not_joined(numbers):
    segments = squares(2, 2)
    actual = masks_of(segments, numbers, np.zeros((12, 12, 3), np.float32))
    assert [one.tobytes() for one in actual] == [(segments == number).tobytes() for number in numbers]


def test_equal_pairs_are_joined_from_the_last_to_the_first():
    segments = squares(1, 4)  # one colour: the joins are decided by size, then by number
    rows = grouped(segments, np.arange(4), segment_boxes(segments, 4), np.zeros((6, 24, 3), np.float32))
    assert [np.flatnonzero(row).tolist() for row in rows] == [[0], [1], [2], [3], [2, 3], [0, 1], [0, 1, 2, 3]]


def test_boxes_are_tight():
    segments = squares(3, 4)
    segments[0, 0] = 11
    boxes = segment_boxes(segments, 12)
    assert [tuple(box) for box in boxes.tolist()] == [mask_ops.box_of(segments == number) for number in range(12)]


def test_each_proposal_is_different_and_scored_by_its_own_pixels(scene):
    found = [one for one in MaskTree(ProposerParams()).masks(scene.pixels) if not one.is_stuff]
    assert len({one.mask.tobytes() for one in found}) == len(found) > 5
    for one in found:
        x0, y0, x1, y1 = mask_ops.box_of(one.mask)
        pixels = one.mask.sum()
        expected = pixels / ((x1 - x0) * (y1 - y0)) * (pixels / one.mask.size) ** 0.25
        assert one.score == pytest.approx(expected, abs=1e-12)
