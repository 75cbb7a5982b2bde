"""The multi-granularity objective: its terms, their sum, and what a weight of 0 saves."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from umgclip.learning.quarantine import Dropped
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights, TowerParams, TrainParams
from umgclip.train.batch import Batch
from umgclip.train.feed import TrainFeed
from umgclip.train.objective.registry import OBJECTIVES
from umgclip.train.objective.total import loss

NOTHING = LossWeights(image_text=0, tags=0, region_text=0, region_tags=0, pixel=0, distill=0, keep=0)
NAMES = ["image_text", "tags", "region_text", "region_tags", "pixel", "distill", "keep"]


def only(**weights: float) -> LossWeights:
    return NOTHING.model_copy(update=weights)


def loss_of(
    tower: DenseClip, batch: Batch, weights: LossWeights, tokenizer: files.Tokenizer
) -> tuple[Tensor, dict[str, float]]:
    return loss(tower, batch, TrainParams(weights=weights), tokenizer)


class Counting(DenseClip):
    """Counts the texts that are encoded."""

    texts = 0

    def encode_text(self, tokens: Tensor) -> Tensor:
        self.texts += len(tokens)
        return super().encode_text(tokens)


@pytest.fixture(scope="module")
def tower(base: Path) -> DenseClip:
    return DenseClip(files.load(base)[0])


@pytest.fixture(scope="module")
def tokenizer(tiny: TowerParams) -> files.Tokenizer:
    return files.Tokenizer(tiny.context_length)


@pytest.fixture(scope="module")
def batch(annotations: Path, tower: DenseClip) -> Batch:
    feed = TrainFeed(TrainParams(batch=6), annotations, Dropped(frozenset(), {}), tower)
    return next(feed.from_step(0))


def test_every_objective_has_a_weight() -> None:
    names = [objective.name for objective in OBJECTIVES]
    assert len(set(names)) == len(names)
    assert set(names) <= set(LossWeights.model_fields)


def test_the_total_is_the_weighted_sum_of_the_terms(tower: DenseClip, batch: Batch, tokenizer: files.Tokenizer) -> None:
    weights = LossWeights(image_text=1.0, tags=0.2, region_text=0.5, region_tags=1.5, pixel=2.0, distill=3.0, keep=0.7)
    total, values = loss_of(tower, batch, weights, tokenizer)
    assert set(values) == {*NAMES, "total"}
    expected = sum(getattr(weights, name) * values[name] for name in NAMES)
    assert values["total"] == pytest.approx(expected, rel=1e-5)
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert all(math.isfinite(value) and value > 0 for value in values.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_term_has_the_same_value_alone_and_is_gone_at_weight_0(
    tower: DenseClip, batch: Batch, tokenizer: files.Tokenizer, name: str
) -> None:
    everything = loss_of(tower, batch, LossWeights(), tokenizer)[1]
    _, alone = loss_of(tower, batch, only(**{name: 1.0}), tokenizer)
    _, without = loss_of(tower, batch, LossWeights().model_copy(update={name: 0.0}), tokenizer)
    assert list(alone) == [name, "total"]
    assert name not in without
    if name not in ("region_text", "pixel"):  # their candidates are all texts of the step
        assert alone[name] == pytest.approx(everything[name], rel=1e-4)


def test_only_the_texts_that_a_term_looks_at_are_encoded(base: Path, batch: Batch, tokenizer: files.Tokenizer) -> None:
    counting = Counting(files.load(base)[0])

    def encoded(weights: LossWeights) -> int:
        counting.texts = 0
        loss_of(counting, batch, weights, tokenizer)
        return counting.texts

    captions, tags = set(batch.caption.tolist()), set(batch.tag_texts.tolist())
    regions = set(batch.region_text.tolist()) - {-1}
    assert encoded(only(keep=1.0, distill=1.0)) == 0
    assert encoded(only(image_text=1.0)) == len(captions)
    assert encoded(only(tags=1.0)) == encoded(only(region_tags=1.0)) == len(tags)
    assert encoded(only(pixel=1.0)) == encoded(only(region_text=1.0)) == len(regions)
    assert encoded(LossWeights()) == len(captions | tags | regions)


@pytest.mark.parametrize("name", ["region_text", "pixel"])
def test_with_every_text_the_same_nothing_is_wrong(
    tower: DenseClip, batch: Batch, tokenizer: files.Tokenizer, name: str
) -> None:
    """A threshold below all cosines makes one text of all; one above them changes nothing."""
    params = TrainParams(weights=only(**{name: 1.0}))
    values = [
        loss(tower, batch, params.model_copy(update={"joint_threshold": threshold}), tokenizer)[1][name]
        for threshold in (None, 1.0, -1.0)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    assert values[2] == pytest.approx(0.0, abs=1e-5)
    assert values[0] > 0.1


def without_regions(batch: Batch) -> Batch:
    return dataclasses.replace(
        batch,
        image_of_region=batch.image_of_region[:0],
        boxes_xyxy=batch.boxes_xyxy[:0],
        masks=batch.masks[:0],
        is_stuff=batch.is_stuff[:0],
        region_text=batch.region_text[:0],
        token_text=torch.full_like(batch.token_text, -1),
        token_weight=torch.zeros_like(batch.token_weight),
        teacher_region=batch.teacher_region[:0],
    )


def without_labels(batch: Batch) -> Batch:
    return dataclasses.replace(
        batch,
        tag_texts=batch.tag_texts[:0],
        tag_targets=batch.tag_targets[:, :0],
        region_text=torch.full_like(batch.region_text, -1),
        token_text=torch.full_like(batch.token_text, -1),
        token_weight=torch.zeros_like(batch.token_weight),
    )


def without_teacher(batch: Batch) -> Batch:
    nan = float("nan")
    return dataclasses.replace(
        batch,
        teacher_image=torch.full_like(batch.teacher_image, nan),
        teacher_region=torch.full_like(batch.teacher_region, nan),
    )


@pytest.mark.parametrize(
    ("strip", "silent"),
    [
        (without_regions, ["region_text", "region_tags", "pixel", "distill"]),
        (without_labels, ["tags", "region_text", "region_tags", "pixel"]),
        (without_teacher, ["distill", "keep"]),
    ],
)
def test_what_a_batch_lacks_costs_nothing_and_breaks_nothing(
    base: Path, batch: Batch, tokenizer: files.Tokenizer, strip: object, silent: list[str]
) -> None:
    tower = DenseClip(files.load(base)[0])
    total, values = loss_of(tower, strip(batch), LossWeights(), tokenizer)
    total.backward()
    assert set(values) == {*NAMES, "total"}, "the terms of a run are the same in every step"
    assert {name for name in NAMES if values[name] == 0} == set(silent)
    grads = [p.grad for p in tower.parameters() if p.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)


def test_stuff_is_read_by_its_mask_alone(tower: DenseClip, batch: Batch, tokenizer: files.Tokenizer) -> None:
    """A box around a background holds everything else as well."""
    moved = batch.boxes_xyxy.clone()
    moved[batch.is_stuff] = torch.tensor([0.0, 0.0, 0.1, 0.1])
    assert bool(batch.is_stuff.any())
    weights = only(region_text=1.0)
    before = loss_of(tower, batch, weights, tokenizer)[1]
    assert loss_of(tower, dataclasses.replace(batch, boxes_xyxy=moved), weights, tokenizer)[1] == before
    moved[~batch.is_stuff] = torch.tensor([0.0, 0.0, 0.1, 0.1])
    assert loss_of(tower, dataclasses.replace(batch, boxes_xyxy=moved), weights, tokenizer)[1] != before


def test_images_without_a_caption_are_no_pair(tower: DenseClip, batch: Batch, tokenizer: files.Tokenizer) -> None:
    weights = only(image_text=1.0)
    few = dataclasses.replace(batch, caption=batch.caption.clone())
    few.caption[1:] = -1
    value, _ = loss_of(tower, few, weights, tokenizer)
    assert value.item() == pytest.approx(0.0, abs=1e-6)  # one pair has nothing to be told from
    none = dataclasses.replace(batch, caption=torch.full_like(batch.caption, -1))
    value, _ = loss_of(tower, none, weights, tokenizer)
    value.backward()
    assert value.item() == 0.0


def test_images_that_all_have_all_tags_keep_gradients_finite(
    base: Path, annotations: Path, tokenizer: files.Tokenizer
) -> None:
    tower = DenseClip(files.load(base)[0])
    single = next(TrainFeed(TrainParams(batch=1), annotations, Dropped(frozenset(), {}), tower).from_step(0))
    assert bool(single.tag_targets.all())
    total, _ = loss_of(tower, single, only(tags=1.0), tokenizer)
    total.backward()
    assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in tower.parameters() if p.grad is not None)
