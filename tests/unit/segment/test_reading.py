"""A trained segmenter in front of a benchmark: images of any shape in, segments of their own size out."""

import itertools

import numpy as np
import pytest
import torch

from umgclip.evaluate.benchmarks.panoptic import Panoptic
from umgclip.evaluate.benchmarks.segmented import SegmentReader, decoder_map
from umgclip.evaluate.examples import Classes, Example, open_benchmark, read_examples
from umgclip.evaluate.reader import Reader
from umgclip.model.clip.images import ImageInput
from umgclip.model.segmenter import files
from umgclip.params import EvaluateParams


@pytest.fixture
def reader_of(tower_folders, params):
    """A reader and a random segmenter on one tower, for some classes."""

    def make(classes, resize="squash", **options):
        description = files.Description(
            decoder=params.decoder, adapter="none", adapter_rank=1, image_px=96, resize=resize,
            things=list(classes.things[:3]), stuff=[], **files.hashes(*tower_folders),
        )  # fmt: skip
        segmenter = files.build(*tower_folders, description).eval()
        tower = segmenter.tower
        settings = EvaluateParams(image_px=96, crop_px=48, resize=resize)
        reader = Reader(tower, tower.tokenizer, classes, settings, ImageInput.of(tower, 96, resize))
        return reader, SegmentReader(reader, segmenter, description, **options)

    return make


def test_another_precision_names_nearly_the_same(demo, reader_of):
    _, classes = open_benchmark(demo / "benchmark")
    scenes = list(itertools.islice(read_examples(demo / "benchmark", classes), 2))
    plain, half = (
        reader_of(classes, placement=(torch.device("cpu"), dtype))[1].read(scenes)
        for dtype in (torch.float32, torch.bfloat16)
    )
    for one, other in zip(plain, half, strict=True):
        assert other.masks.dtype == other.names.dtype == torch.float32
        assert not torch.equal(one.names, other.names)
        assert torch.allclose(one.names, other.names, atol=0.05)
        assert (one.masks - other.masks).abs().mean() < 0.05


def test_scenes_of_the_demo_are_scored(demo, reader_of):
    _, classes = open_benchmark(demo / "benchmark")
    examples = [each for each in read_examples(demo / "benchmark", classes) if not each.single]
    scenes = list(itertools.islice(examples, 3))
    reader, segments = reader_of(classes)
    found = segments.read(scenes)
    assert [tuple(one.masks.shape[1:]) for one in found] == [(96, 96)] * 3
    assert found[0].names.shape == (16, len(classes.names))
    panoptic = Panoptic(reader, {}, segmented=True)
    seen = reader.see(scenes)
    panoptic.add(scenes, type(seen)(seen.image, seen.dense, found))
    assert 0 <= dict(panoptic.results())["pq_decoder"] <= 1


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_an_image_of_another_shape_keeps_it(resize, reader_of):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 90, 3)).astype(np.uint8)
    example = Example("k", pixels, (), (), (), (), single=False)
    reader, segments = reader_of(Classes(("cat", "dog"), ("grass",), frozenset()), resize)
    (found,) = segments.read([example])
    assert tuple(found.masks.shape[1:]) == (40, 90)
    assert decoder_map(reader, found, example).ids.shape == (40, 90)
