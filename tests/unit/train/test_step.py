"""One global batch, computed at once or in micro-batches: the same loss, the same gradients."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from umgclip.data.batch import Batch
from umgclip.model import files
from umgclip.model.adapters import add_lora
from umgclip.model.tower import DenseClip
from umgclip.params import LoraParams, LossWeights, TowerParams, TrainParams
from umgclip.train.blocks import blocks, checkpoint_activations, compile_blocks
from umgclip.train.features import Embedder
from umgclip.train.feed import Dropped, Feed, Loaded
from umgclip.train.labels import cut, join, labels_of, merge
from umgclip.train.parallel import Parallel
from umgclip.train.step import Scoring, compute
from umgclip.train.world import World

EVERY_TERM = LossWeights(relational=0.5)
ONE = World()
Prepare = Callable[[DenseClip], object]


def nothing(_tower: DenseClip) -> None:
    pass


@pytest.fixture
def make(base: Path) -> Callable[[], DenseClip]:
    """The same adapted tower, as often as it is asked for; its adapter is not at zero."""

    def build() -> DenseClip:
        clip = files.load(base)[0]
        torch.manual_seed(0)
        adapted = add_lora(clip, LoraParams(rank=4, alpha=8))
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        return DenseClip(adapted.get_base_model()).train()

    return build


@pytest.fixture
def loaded(annotations: Path, make: Callable[[], DenseClip]) -> Loaded:
    return next(Feed(TrainParams(batch=7), annotations, Dropped(frozenset(), {}), make()).load(0))


def gradients(
    tower: DenseClip, loaded: Loaded, params: TrainParams, tiny: TowerParams
) -> tuple[dict[str, float], dict[str, Tensor]]:
    model = Parallel(Embedder(tower), ONE, "ddp")
    scoring = Scoring(params, "softmax", None, files.Tokenizer(tiny.context_length), lambda: None, lambda loss: loss)
    values = compute(model, loaded, scoring, ONE).values
    return values, {name: p.grad for name, p in model.weights.items() if p.grad is not None}


@pytest.mark.parametrize(
    ("parts", "prepare"),
    [(2, nothing), (3, nothing), (7, nothing), (1, checkpoint_activations), (3, checkpoint_activations)],
    ids=["2", "3", "an image each", "recomputed", "recomputed, 3"],
)
def test_micro_batches_have_loss_and_gradients_of_the_batch(
    make: Callable[[], DenseClip], loaded: Loaded, tiny: TowerParams, parts: int, prepare: Prepare
) -> None:
    params = TrainParams(weights=EVERY_TERM)
    expected, wanted = gradients(make(), loaded, params, tiny)
    tower = make()
    prepare(tower)
    values, found = gradients(tower, loaded, params.model_copy(update={"accumulate": parts}), tiny)
    assert values == pytest.approx(expected, rel=1e-5)
    assert found.keys() == wanted.keys()
    assert found, "the adapter learns"
    for name, gradient in wanted.items():
        scale = gradient.abs().max().clamp(min=1e-3)
        assert (gradient - found[name]).abs().max() < 1e-4 * scale, name


@pytest.mark.parametrize("name", list(LossWeights.model_fields))
def test_every_term_alone_is_exact_in_micro_batches(
    make: Callable[[], DenseClip], loaded: Loaded, tiny: TowerParams, name: str
) -> None:
    alone = LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0) | {name: 1.0})
    params = TrainParams(weights=alone)
    expected, wanted = gradients(make(), loaded, params, tiny)
    values, found = gradients(make(), loaded, params.model_copy(update={"accumulate": 3}), tiny)
    assert values == pytest.approx(expected, rel=1e-5)
    for key, gradient in wanted.items():
        if gradient.abs().max() > 0:
            assert (gradient - found[key]).abs().max() < 1e-4 * gradient.abs().max().clamp(min=1e-3), key


def test_a_part_of_which_nothing_could_be_read_costs_nothing(
    make: Callable[[], DenseClip], loaded: Loaded, tiny: TowerParams
) -> None:
    empty = dataclasses.replace(
        cut(loaded.batch, 0, 0), texts=[], tag_texts=torch.zeros(0).long(), tag_targets=torch.zeros((0, 0)).bool()
    )
    values, found = gradients(make(), Loaded(0, empty, ()), TrainParams(weights=EVERY_TERM), tiny)
    assert set(values.values()) == {0.0}
    assert all(gradient.isfinite().all() for gradient in found.values())


def same(expected: object, found: object) -> bool:
    """Equal, with NaN (no teacher) equal to NaN."""
    if isinstance(expected, Tensor) and isinstance(found, Tensor):
        return expected.shape == found.shape and torch.allclose(expected, found, rtol=0, atol=0, equal_nan=True)
    return expected == (pytest.approx(found) if isinstance(found, float) else found)


def halves(batch: Batch) -> list[Batch]:
    return [cut(batch, 0, 3), cut(batch, 3, 7)]


def test_cutting_and_merging_gives_the_batch_back(loaded: Loaded) -> None:
    whole = merge(halves(loaded.batch))
    for field in dataclasses.fields(Batch):
        expected, found = getattr(loaded.batch, field.name), getattr(whole, field.name)
        assert same(expected, found), field.name


def test_joined_labels_are_those_of_the_whole(loaded: Loaded) -> None:
    expected = labels_of(loaded.batch, EVERY_TERM)
    parts = [labels_of(half, EVERY_TERM) for half in halves(loaded.batch)]
    joined = join(parts)
    for field in dataclasses.fields(expected):
        value, found = getattr(expected, field.name), getattr(joined.labels, field.name)
        assert same(value, found), field.name


def test_equal_texts_of_two_parts_are_one_text(loaded: Loaded) -> None:
    one, two = (labels_of(part, EVERY_TERM) for part in (loaded.batch, loaded.batch))
    joined = join([one, two])
    assert joined.labels.texts == one.texts
    assert torch.equal(joined.places[0], joined.places[1])
    rows = joined.row_of_text[:-1]
    assert rows.max() == len(one.used) - 1, "the first part's row stands for both"
    assert joined.labels.tag_targets.shape == (14, one.tag_targets.shape[1])


@pytest.mark.slow
def test_compiled_towers_have_the_same_gradients(
    make: Callable[[], DenseClip], loaded: Loaded, tiny: TowerParams
) -> None:
    params = TrainParams(weights=EVERY_TERM)
    expected, wanted = gradients(make(), loaded, params, tiny)
    tower = make()
    assert compile_blocks(tower) == len(list(blocks(tower))) == 3
    values, found = gradients(tower, loaded, params, tiny)
    assert values == pytest.approx(expected, rel=1e-4)
    for name, gradient in wanted.items():
        assert (gradient - found[name]).abs().max() < 1e-3 * gradient.abs().max().clamp(min=1e-3), name
