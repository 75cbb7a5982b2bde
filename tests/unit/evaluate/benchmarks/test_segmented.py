"""A decoder's segments in the panoptic and semantic benchmarks, beside those of the dense map alone."""

import dataclasses

import numpy as np
import pytest
import torch

from umgclip.evaluate.benchmarks.panoptic import Panoptic
from umgclip.evaluate.benchmarks.segmented import dense_map_alone
from umgclip.evaluate.benchmarks.semantic import Semantic
from umgclip.evaluate.examples import read_examples
from umgclip.model.segmenter.segments import Segments


@pytest.fixture
def scenes(toy, kit):
    return [example for example in read_examples(toy, kit.CLASSES) if not example.single][:6]


def true_segments(example, classes):
    """What a decoder without fault would say."""
    ids, label_of = example.segments
    masks = torch.from_numpy(np.stack([ids == segment for segment in label_of])).float()
    names = torch.nn.functional.one_hot(torch.tensor(list(label_of.values())), classes).float()
    return Segments(masks, names, torch.ones(len(masks)))


def test_a_faultless_decoder_has_full_marks_whatever_the_dense_map_says(scenes, kit, read_with):
    reader = read_with(kit.RandomTower())
    seen = reader.see(scenes)
    seen = dataclasses.replace(seen, segments=[true_segments(each, len(kit.CLASSES.names)) for each in scenes])
    panoptic, semantic = Panoptic(reader, {}, segmented=True), Semantic(reader)
    for evaluator in (panoptic, semantic):
        evaluator.add(scenes, seen)
    found = dict(panoptic.results())
    assert found["pq_decoder"] == pytest.approx(1.0)
    assert found["pq_dense_map"] < 0.2
    assert dict(semantic.results())["miou_decoder"] == pytest.approx(1.0)
    assert set(panoptic.weighted()[1]) == {"pq_true_masks", "pq_dense_map", "pq_decoder"}
    assert panoptic.protocol()["masks"]["decoder"]["exponent_unseen"] == 0.6


def test_without_a_decoder_nothing_is_said_of_it(scenes, kit, read_with):
    reader = read_with(kit.ColourTower())
    panoptic, semantic = Panoptic(reader, {}), Semantic(reader)
    for evaluator in (panoptic, semantic):
        evaluator.add(scenes, reader.see(scenes))
    names = {name for evaluator in (panoptic, semantic) for name, _ in evaluator.results()}
    assert not {name for name in names if "decoder" in name or "dense_map" in name}
    assert set(panoptic.protocol()["masks"]) == {"true_masks"}


def test_connected_pixels_of_one_class_are_a_segment(scenes, kit, read_with):
    reader = read_with(kit.ColourTower())
    seen = reader.see(scenes)
    for example, dense in zip(scenes, seen.dense, strict=True):
        found = dense_map_alone(reader, dense, example)
        assert sorted(found.label_of.values()) == sorted(example.segments[1].values())
