"""One global batch, computed at once or in micro-batches: the same loss, the same gradients."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from umgclip.learning.counts import rows_of
from umgclip.learning.quarantine import Dropped
from umgclip.learning.world import World
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.clip import files
from umgclip.model.clip.blocks import residual_blocks
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoraParams, LossWeights, TowerParams, TrainParams
from umgclip.train.batch import Batch
from umgclip.train.blocks import checkpoint_activations, compile_blocks
from umgclip.train.feed import LoadedBatch, TrainFeed
from umgclip.train.objective.features import TowerEmbedder
from umgclip.train.objective.image_terms import embedder_of
from umgclip.train.objective.labels import cut, join, merge
from umgclip.train.objective.registry import labels_of, states_of
from umgclip.train.parallel import Parallel
from umgclip.train.step import StepScoring, compute

EVERY_TERM = LossWeights(relational=0.5, hard_negatives=0.5, cmr=0.4, tic=0.1, long_text=0.7)
VIEWED = TrainParams(
    batch=7, weights=EVERY_TERM.model_copy(update={"windows": 1.0}), windows={"sides": [120]}, long_caption_words=8
)
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
def loaded(annotations: Path, make: Callable[[], DenseClip]) -> LoadedBatch:
    return next(TrainFeed(VIEWED, annotations, Dropped(frozenset(), {}), make()).load(0))


def gradients(
    tower: DenseClip, loaded: LoadedBatch, params: TrainParams, tiny: TowerParams
) -> tuple[dict[str, float], dict[str, Tensor]]:
    model = Parallel(embedder_of(tower, params), ONE, "ddp")
    scoring = StepScoring(
        params, "softmax", None, files.Tokenizer(tiny.context_length), lambda loss: loss, states_of(params.weights)
    )
    values = compute(model, loaded, scoring, ONE).values
    return values, {name: p.grad for name, p in model.weights.items() if p.grad is not None}


@pytest.mark.parametrize(
    ("parts", "prepare"),
    [(2, nothing), (3, nothing), (7, nothing), (1, checkpoint_activations), (3, checkpoint_activations)],
    ids=["2", "3", "an image each", "recomputed", "recomputed, 3"],
)
def test_micro_batches_have_loss_and_gradients_of_the_batch(
    make: Callable[[], DenseClip], loaded: LoadedBatch, tiny: TowerParams, parts: int, prepare: Prepare
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
    make: Callable[[], DenseClip], loaded: LoadedBatch, tiny: TowerParams, name: str
) -> None:
    alone = LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0) | {name: 1.0})
    params = TrainParams(weights=alone, lr_peak=1e-3)
    expected, wanted = gradients(make(), loaded, params, tiny)
    values, found = gradients(make(), loaded, params.model_copy(update={"accumulate": 3}), tiny)
    assert values == pytest.approx(expected, rel=1e-5)
    for key, gradient in wanted.items():
        if gradient.abs().max() > 0:
            assert (gradient - found[key]).abs().max() < 1e-4 * gradient.abs().max().clamp(min=1e-3), key


def test_a_part_of_which_nothing_could_be_read_costs_nothing(
    make: Callable[[], DenseClip], loaded: LoadedBatch, tiny: TowerParams
) -> None:
    empty = dataclasses.replace(
        cut(loaded.batch, 0, 0), texts=[], tag_texts=torch.zeros(0).long(), tag_targets=torch.zeros((0, 0)).bool()
    )
    values, found = gradients(make(), LoadedBatch(0, empty, ()), TrainParams(weights=EVERY_TERM), tiny)
    assert set(values.values()) == {0.0}
    assert all(gradient.isfinite().all() for gradient in found.values())


def same(expected: object, found: object) -> bool:
    """Equal, with NaN (no teacher) equal to NaN."""
    if isinstance(expected, Tensor) and isinstance(found, Tensor):
        return expected.shape == found.shape and torch.allclose(expected, found, rtol=0, atol=0, equal_nan=True)
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(same(value, found[name]) for name, value in expected.items())
    return expected == (pytest.approx(found) if isinstance(found, float) else found)


def halves(batch: Batch) -> list[Batch]:
    return [cut(batch, 0, 3), cut(batch, 3, 7)]


def test_cutting_and_merging_gives_the_batch_back(loaded: LoadedBatch) -> None:
    whole = merge(halves(loaded.batch))
    for field in dataclasses.fields(Batch):
        expected, found = getattr(loaded.batch, field.name), getattr(whole, field.name)
        assert same(expected, found), field.name


def test_joined_labels_are_those_of_the_whole(loaded: LoadedBatch, tiny: TowerParams) -> None:
    tokenizer = files.Tokenizer(tiny.context_length)
    expected = labels_of(loaded.batch, EVERY_TERM, tokenizer)
    parts = [labels_of(half, EVERY_TERM, tokenizer) for half in halves(loaded.batch)]
    joined = join(parts)
    for field in dataclasses.fields(expected):
        value, found = getattr(expected, field.name), getattr(joined.labels, field.name)
        assert same(value, found), field.name


def test_equal_texts_of_two_parts_are_one_text(loaded: LoadedBatch, tiny: TowerParams) -> None:
    tokenizer = files.Tokenizer(tiny.context_length)
    one, two = (labels_of(part, EVERY_TERM, tokenizer) for part in (loaded.batch, loaded.batch))
    joined = join([one, two])
    assert joined.labels.texts == one.texts
    assert torch.equal(joined.places[0], joined.places[1])
    rows = joined.row_of_text[:-1]
    assert rows.max() == len(one.used) - 1, "the first part's row stands for both"
    assert joined.labels.tag_targets.shape == (14, one.tag_targets.shape[1])


@pytest.mark.slow
# torch.compile meets warnings while it traces; it hides them only where they are printed, not where they are raised
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("shapes_unchecked")  # the graph of production, which checks would break into pieces
def test_compiled_towers_have_the_same_gradients(
    make: Callable[[], DenseClip], loaded: LoadedBatch, tiny: TowerParams
) -> None:
    params = TrainParams(weights=EVERY_TERM)
    expected, wanted = gradients(make(), loaded, params, tiny)
    tower = make()
    assert compile_blocks(tower) == len(list(residual_blocks(tower))) == 3
    values, found = gradients(tower, loaded, params, tiny)
    assert values == pytest.approx(expected, rel=1e-4)
    for name, gradient in wanted.items():
        assert (gradient - found[name]).abs().max() < 1e-3 * gradient.abs().max().clamp(min=1e-3), name


def worded(batch: Batch, texts: list[str]) -> Batch:
    """A batch of two images and two regions, each with a text of its own, and two tags."""
    two = cut(batch, 0, 2)
    return dataclasses.replace(
        two,
        texts=texts,
        caption=torch.tensor([0, 1]),
        long_caption=torch.tensor([-1, -1]),
        negative_text=torch.zeros(0, dtype=torch.long),
        region_of_negative=torch.zeros(0, dtype=torch.long),
        tag_texts=torch.tensor([2, 3]),
        tag_targets=torch.tensor([[True, False], [False, True]]),
        image_of_region=torch.tensor([0, 1]),
        boxes_xyxy=torch.tensor([[0.1, 0.1, 0.6, 0.6], [0.2, 0.2, 0.7, 0.9]]),
        masks=torch.ones(2, *batch.masks.shape[1:]),
        is_stuff=torch.zeros(2, dtype=torch.bool),
        region_text=torch.tensor([2, 3]),
        token_text=torch.where(torch.arange(len(two.token_text)) % 2 == 0, 2, 3),
        token_weight=torch.ones(len(two.token_text)),
        teacher_region=batch.teacher_region[:2],
    )


@pytest.mark.parametrize(
    "again", [["A dog", "DOG"], ["a  dog ", " dog"], ["a dog", "dog"]], ids=["case", "spaces", "the same"]
)
def test_texts_of_equal_tokens_are_no_negatives_of_each_other(
    make: Callable[[], DenseClip], loaded: LoadedBatch, tiny: TowerParams, again: list[str]
) -> None:
    """Every image has every text of the batch, so no contrast can be wrong; nor with the texts in two processes."""
    terms = LossWeights(image_text=1, region_text=1, pixel=1, tags=1, region_tags=1, distill=0, keep=0)
    batch = worded(loaded.batch, ["a dog", again[0], "dog", again[1]])
    values, _ = gradients(make(), LoadedBatch(0, batch, ("one", "two")), TrainParams(weights=terms), tiny)
    assert max(values["image_text"], values["region_text"], values["pixel"]) == pytest.approx(0, abs=1e-6)
    tokenizer = files.Tokenizer(tiny.context_length)
    joined = join([labels_of(cut(batch, number, number + 1), terms, tokenizer) for number in (0, 1)]).labels
    assert (joined.texts, joined.tag_targets.tolist()) == (["a dog", "dog"], [[True], [True]])
    assert joined.caption.tolist() == [0, 0]


def test_texts_that_differ_behind_the_context_only_are_one(loaded: LoadedBatch, tiny: TowerParams) -> None:
    long = "a very long " + "dog " * tiny.context_length
    batch = worded(loaded.batch, [f"{long} by night", f"{long} by day", "dog", "cat"])
    labels = join([labels_of(batch, EVERY_TERM, files.Tokenizer(tiny.context_length))]).labels
    assert labels.caption.tolist() == [0, 0]
    assert labels.tag_texts.tolist() == [1, 2]


def test_what_was_met_is_counted(make: Callable[[], DenseClip], loaded: LoadedBatch, tiny: TowerParams) -> None:
    batch = worded(loaded.batch, ["dog " * 40, "a dog", "dog", "cat"])
    model = Parallel(TowerEmbedder(make()), ONE, "ddp")
    scoring = StepScoring(TrainParams(), "softmax", None, files.Tokenizer(tiny.context_length), lambda loss: loss)
    met = {"images": 2, "unmirrored": 1, "regions": 2, "slivers": 1}
    seen = compute(model, LoadedBatch(0, batch, ("one", "two"), (), met), scoring, ONE).seen
    assert seen == {**met, "texts": 4, "cut": 1}
    assert rows_of(seen) == (
        ("never mirrored", "1 of 2 images shown, for a text says left or right"),
        ("texts cut", "1 of 4 texts encoded, longer than the model's context"),
        ("boxes under half a pixel", "1 of 2 regions shown"),
    )
    assert rows_of({"images": 2, "texts": 4}) == ()
