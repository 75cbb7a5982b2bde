"""Sliding windows and background."""

import dataclasses

import numpy as np
import pytest

from umgclip.evaluate.benchmarks.semantic import Semantic, labels_of
from umgclip.evaluate.benchmarks.windows import starts, windowed_scores
from umgclip.evaluate.examples import read_examples
from umgclip.params import SemanticParams


def with_semantic(kit, **changes):
    return kit.PARAMS.model_copy(update={"semantic": SemanticParams(**changes)})


@pytest.mark.parametrize(
    ("length", "window", "stride", "expected"),
    [(10, 4, 3, [0, 3, 6]), (10, 4, 4, [0, 4, 6]), (4, 4, 2, [0]), (9, 4, 4, [0, 4, 5])],
)
def test_windows_cover_the_whole_length(length, window, stride, expected):
    found = starts(length, window, stride)
    assert found == expected
    assert {i for start in found for i in range(start, start + window)} == set(range(length))


def test_windows_of_a_model_that_sees_single_pixels_add_nothing(toy, read_with, kit):
    # given a wide image, of which each pixel is read from its own colour
    example = next(read_examples(toy, kit.CLASSES))
    wide = dataclasses.replace(example, pixels=np.tile(example.pixels, (1, 2, 1)), things=(), stuff=())
    reader = read_with(kit.ColourTower(), with_semantic(kit, window_px=12, stride_px=5, short_px=24))
    scores = windowed_scores(reader, wide)
    assert tuple(scores.shape[1:]) == (24, 48)
    labels = labels_of(reader, scores, (24, 48))
    assert np.array_equal(kit.COLOURS[labels], wide.pixels)


def test_windows_are_counted_and_told(toy, read_with, kit):
    example = next(read_examples(toy, kit.CLASSES))
    reader = read_with(kit.ColourTower(), with_semantic(kit, window_px=8, stride_px=8, short_px=24))
    semantic = Semantic(reader)
    semantic.add([example], reader.see([example]))
    assert dict(semantic.results())["miou"] == 1.0
    block = semantic.protocol()
    assert (block["window_px"], block["window_stride_px"], block["window_short_px"]) == (8, 8, 24)


def test_background_takes_what_no_class_is_sure_of(toy, read_with, kit):
    example = next(read_examples(toy, kit.CLASSES))
    reader = read_with(kit.ColourTower(), with_semantic(kit, background="sand", background_threshold=0.9))
    dense = reader.see([example]).dense[0].clone()
    dense[:, 5, 5] = 0.0  # every class alike
    dense[:, 0, 0] = reader.all_classes[7]  # looks like sand, which is no class to be sure of
    semantic = Semantic(reader)
    scores = reader.all_classes @ dense.flatten(1)
    labels = labels_of(reader, scores.unflatten(1, dense.shape[1:]), (24, 24))
    assert (labels[5, 5], labels[0, 0], labels[20, 20], labels[4, 4]) == (7, 7, 6, 0)
    assert semantic.protocol()["background"] == "sand"
    assert semantic.protocol()["background_threshold"] == 0.9
