"""Scores that follow the edges of the image, against the paper's formula written out pixel by pixel."""

import dataclasses

import numpy as np
import pytest
import torch

from umgclip.evaluate.benchmarks import refine as refining
from umgclip.evaluate.benchmarks.refine import BANDWIDTH, DILATIONS, refine
from umgclip.evaluate.benchmarks.semantic import Semantic, class_scores, labels_of
from umgclip.evaluate.examples import read_examples
from umgclip.metrics.protocol import differences
from umgclip.params import SemanticParams

STEPS = [
    (dilation * dy, dilation * dx)
    for dilation in DILATIONS
    for dy in (-1, 0, 1)
    for dx in (-1, 0, 1)
    if (dy, dx) != (0, 0)
]


def one_step(scores, pixels):
    """The formula, with loops: softmax of minus the mean over channels of |difference| / (bandwidth x deviation)."""
    _, height, width = pixels.shape
    out = np.zeros_like(scores)
    for y in range(height):
        for x in range(width):
            places = [(np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)) for dy, dx in STEPS]
            around = np.stack([pixels[:, a, b] for a, b in places])
            own = pixels[:, y, x]
            deviation = np.concatenate([around, own[None]]).std(0, ddof=1)
            weight = np.exp(-(np.abs(around - own) / (BANDWIDTH * deviation + 1e-8)).mean(1))
            out[:, y, x] = (weight / weight.sum()) @ np.stack([scores[:, a, b] for a, b in places])
    return out


def test_one_iteration_is_the_formula(monkeypatch):
    rng = np.random.default_rng(0)
    scores, pixels = rng.normal(size=(4, 9, 13)), rng.random((3, 9, 13))
    monkeypatch.setattr(refining, "ITERATIONS", 1)
    found = refine(torch.from_numpy(scores).float(), torch.from_numpy(pixels).float())
    np.testing.assert_allclose(found.numpy(), one_step(scores, pixels), atol=1e-5)


def test_a_flat_score_stays_and_no_score_leaves_the_range():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 20, 20, generator=generator)
    scores = torch.stack([torch.full((20, 20), 0.3), torch.rand(20, 20, generator=generator)])
    found = refine(scores, pixels)
    torch.testing.assert_close(found[0], scores[0])
    assert scores[1].min() <= found[1].min() <= found[1].max() <= scores[1].max()


def test_a_blurred_square_gets_its_edge_back():
    # given a red square on blue, and scores that know it from cells of 8 px only
    pixels, true = torch.zeros(3, 48, 48), torch.zeros(48, 48, dtype=torch.bool)
    true[13:35, 13:35] = True
    pixels[0, true], pixels[2, ~true] = 1.0, 1.0
    cells = torch.nn.functional.avg_pool2d(true.float()[None], 8)
    blurred = torch.nn.functional.interpolate(cells[None], (48, 48), mode="bilinear")[0, 0]
    scores = torch.stack([1 - blurred, blurred])
    assert (scores.argmax(0).bool() != true).any()
    assert torch.equal(refine(scores, pixels).argmax(0).bool(), true)


@pytest.fixture
def scene(toy, kit):
    return next(read_examples(toy, kit.CLASSES))


def reader_with(kit, read_with, **changes):
    return read_with(kit.ColourTower(), kit.PARAMS.model_copy(update={"semantic": SemanticParams(**changes)}))


def test_refined_values_stand_beside_the_others(scene, read_with, kit):
    plain, both = (Semantic(reader_with(kit, read_with, refine=refine)) for refine in (None, "pamr"))
    for semantic in (plain, both):
        semantic.add([scene], semantic._reader.see([scene]))
    found = dict(both.results())
    assert dict(plain.results()).items() <= found.items()
    assert found["miou_refined"] == pytest.approx(1.0, abs=0.05)
    assert both.weighted()[1].keys() == {"miou", "pixel_accuracy", "miou_refined"}
    assert both.protocol()["refined"] == {"pamr": {"classes": 24}}
    # `miou` means the same in both, so they may stand in one column
    assert not list(differences({"semantic": plain.protocol()}, {"semantic": both.protocol()}))


def test_two_ways_to_refine_do_not_stand_in_one_column(read_with, kit):
    blocks = [Semantic(reader_with(kit, read_with, refine="pamr", refine_classes=n)).protocol() for n in (2, 3)]
    assert [str(each) for each in differences(*blocks)] == ["refined.pamr.classes: 2 and 3"]


def test_only_the_classes_that_score_best_are_in_play(scene, read_with, kit):
    reader = reader_with(kit, read_with, refine="pamr", refine_classes=1)
    scores = class_scores(reader, reader.see([scene]).dense[0]).clone()
    scores[3] += 2.0
    labels = labels_of(reader, scores, scene.pixels.shape[:2], scene.pixels)
    assert set(np.unique(labels)) == {3}


def test_background_is_taken_after_refinement(scene, read_with, kit):
    reader = reader_with(kit, read_with, refine="pamr", background="sand", background_threshold=0.9)
    grey = dataclasses.replace(scene, pixels=np.full_like(scene.pixels, 128))
    scores = torch.zeros(len(reader.all_classes), 24, 24)  # every class alike
    assert set(np.unique(labels_of(reader, scores, (24, 24), grey.pixels))) == {reader.classes.names.index("sand")}
