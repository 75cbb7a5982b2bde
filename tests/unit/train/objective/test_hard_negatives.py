"""A region's right text against wrong ones: loops over rows, and what leaves no trace."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from umgclip.errors import InputError
from umgclip.learning.quarantine import Dropped
from umgclip.model.clip import files
from umgclip.model.clip.readout import pool_boxes, pool_masks
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights, TowerParams, TrainParams
from umgclip.train.batch import Batch
from umgclip.train.feed import TrainFeed
from umgclip.train.objective.hard_negatives import hard_negative_loss, hard_negative_sigmoid_loss
from umgclip.train.objective.total import loss

NOTHING = dict.fromkeys(LossWeights.model_fields, 0.0)
PARAMS = TrainParams(batch=5, weights=LossWeights(**NOTHING | {"hard_negatives": 1.0}))


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of three rows with 1, 3 and 2 wrong texts, not in order of the rows."""
    generator = torch.Generator().manual_seed(3)
    right, wrong = torch.randn(3, generator=generator) * 4, torch.randn(6, generator=generator) * 4
    return right, wrong, torch.tensor([1, 0, 1, 2, 2, 1])


def loop(right: Tensor, wrong: Tensor, row: Tensor) -> float:
    costs = []
    for number, logit in enumerate(right.tolist()):
        others = [value for value, of in zip(wrong.tolist(), row.tolist(), strict=True) if of == number]
        costs.append(-math.log(math.exp(logit) / sum(map(math.exp, [logit, *others]))))
    return sum(costs) / len(costs)


def test_it_equals_the_loop(rows: tuple[Tensor, Tensor, Tensor]) -> None:
    assert hard_negative_loss(*rows).item() == pytest.approx(loop(*rows), rel=1e-5)


def test_it_is_torchs_cross_entropy_where_nothing_is_ragged() -> None:
    logits = torch.randn(4, 11, generator=torch.Generator().manual_seed(0)) * 10
    got = hard_negative_loss(logits[:, 0], logits[:, 1:].reshape(-1), torch.arange(4).repeat_interleave(10))
    torch.testing.assert_close(got, F.cross_entropy(logits, torch.zeros(4, dtype=torch.long)))


def test_on_the_docstring_example() -> None:
    got = hard_negative_loss(torch.zeros(2), torch.tensor([math.log(3), 0, 0]), torch.tensor([0, 1, 1]))
    assert got.item() == pytest.approx((math.log(4) + math.log(3)) / 2)


def test_large_logits_neither_overflow_nor_vanish() -> None:
    right = torch.tensor([0.0, 500.0, -500.0], requires_grad=True)
    value = hard_negative_loss(right, torch.tensor([500.0, 0.0, 500.0]), torch.tensor([0, 1, 2]))
    value.backward()
    assert value.item() == pytest.approx(500.0)
    assert right.grad.tolist() == pytest.approx([-1 / 3, 0, -1 / 3])


def test_gradients_are_right(rows: tuple[Tensor, Tensor, Tensor]) -> None:
    right, wrong = (values.double().requires_grad_() for values in rows[:2])
    assert torch.autograd.gradcheck(lambda r, w: hard_negative_loss(r, w, rows[2]), (right, wrong))


def test_the_sigmoid_equals_a_loop(rows: tuple[Tensor, Tensor, Tensor]) -> None:
    right, wrong, _ = rows
    total = sum(math.log1p(math.exp(-v)) for v in right.tolist()) + sum(math.log1p(math.exp(v)) for v in wrong.tolist())
    assert hard_negative_sigmoid_loss(right, wrong).item() == pytest.approx(total / 3, rel=1e-5)


def test_no_row_gives_a_connected_zero() -> None:
    none, row = torch.zeros(0, requires_grad=True), torch.zeros(0, dtype=torch.long)
    for value in (hard_negative_loss(none, none, row), hard_negative_sigmoid_loss(none, none)):
        value.backward()
        assert value.item() == 0


@pytest.mark.usefixtures("shapes_unchecked")
def test_wrong_arguments_are_refused(rows: tuple[Tensor, Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match=r"row: expected shape \(6,\), got \(5,\)"):
        hard_negative_loss(rows[0], rows[1], rows[2][:5])
    with pytest.raises(InputError, match=r"row: expected indices in \[0, 2\)"):
        hard_negative_loss(rows[0][:2], rows[1], rows[2])


@pytest.fixture(scope="module")
def tower(base: Path) -> DenseClip:
    return DenseClip(files.load(base)[0])


@pytest.fixture(scope="module")
def tokenizer(tiny: TowerParams) -> files.Tokenizer:
    return files.Tokenizer(tiny.context_length)


@pytest.fixture(scope="module")
def batch(annotations: Path, tower: DenseClip) -> Batch:
    return next(TrainFeed(PARAMS, annotations, Dropped(frozenset(), {}), tower).from_step(0))


@torch.no_grad()
def slow(tower: DenseClip, tokenizer: files.Tokenizer, batch: Batch) -> float:
    """Cross-entropy of each region by its mask, and of each thing by its box, one after the other."""
    _, dense = tower.encode_image(batch.images, batch.valid)
    by_mask = pool_masks(dense, batch.masks, batch.image_of_region)
    by_box = pool_boxes(dense, batch.boxes_xyxy, batch.image_of_region)
    costs = []
    for region, text in enumerate(batch.region_text.tolist()):
        wrong = [
            t
            for t, of in zip(batch.negative_text.tolist(), batch.region_of_negative.tolist(), strict=True)
            if of == region
        ]
        if text < 0 or not wrong:
            continue
        features = tower.encode_text(tokenizer([batch.texts[place] for place in (text, *wrong)]))
        for row in [by_mask[region], *([] if batch.is_stuff[region] else [by_box[region]])]:
            logits = tower.logit_scale() * F.cosine_similarity(row[None], features)
            costs.append(F.cross_entropy(logits[None], torch.tensor([0])).item())
    assert len(costs) > 5
    return sum(costs) / len(costs)


def test_the_term_equals_a_loop_over_regions(tower: DenseClip, batch: Batch, tokenizer: files.Tokenizer) -> None:
    assert batch.is_stuff[batch.region_of_negative].any()
    assert (~batch.is_stuff[batch.region_of_negative]).any()
    value = loss(tower, batch, PARAMS, tokenizer)[1]["hard_negatives"]
    assert value == pytest.approx(slow(tower, tokenizer, batch), rel=1e-4)


def test_a_tower_of_sigmoids_is_asked_about_each_text(base: Path, batch: Batch, tokenizer: files.Tokenizer) -> None:
    tower = DenseClip(files.load(base)[0])
    tower.clip.logit_bias = torch.nn.Parameter(torch.tensor(-3.0))
    assert tower.pairwise == "sigmoid"
    softmax = DenseClip(files.load(base)[0])
    with torch.no_grad():
        _, dense = softmax.encode_image(batch.images)
        by_mask = pool_masks(dense, batch.masks, batch.image_of_region)
        by_box = pool_boxes(dense, batch.boxes_xyxy, batch.image_of_region)
        texts = softmax.encode_text(tokenizer(batch.texts))
    cost, rows = 0.0, 0
    for region in batch.region_of_negative.unique().tolist():
        wrong = batch.negative_text[batch.region_of_negative == region]
        for row in [by_mask[region], *([] if batch.is_stuff[region] else [by_box[region]])]:
            logits = softmax.logit_scale().item() * F.cosine_similarity(row[None], texts) - 3.0
            rows += 1
            cost += float(F.softplus(-logits[batch.region_text[region]]) + F.softplus(logits[wrong]).sum())
    value = loss(tower, batch, PARAMS, tokenizer)[1]["hard_negatives"]
    assert value == pytest.approx(cost / rows, rel=1e-4)


def test_a_wrong_text_of_equal_tokens_is_none(tower: DenseClip, batch: Batch, tokenizer: files.Tokenizer) -> None:
    """Here in capitals, which the tokenizer does not see."""
    region = int(batch.region_of_negative[0])
    shouted = batch.texts[int(batch.region_text[region])].upper()
    more = dataclasses.replace(
        batch,
        texts=[*batch.texts, shouted],
        negative_text=torch.cat([torch.tensor([len(batch.texts)]), batch.negative_text]),
        region_of_negative=torch.cat([torch.tensor([region]), batch.region_of_negative]),
    )
    value = loss(tower, batch, PARAMS, tokenizer)[1]
    assert loss(tower, more, PARAMS, tokenizer)[1] == pytest.approx(value, rel=1e-6)


def test_regions_without_a_text_or_a_wrong_one_leave_no_trace(
    tower: DenseClip, batch: Batch, tokenizer: files.Tokenizer
) -> None:
    none = dataclasses.replace(
        batch, negative_text=batch.negative_text[:0], region_of_negative=batch.region_of_negative[:0]
    )
    value, values = loss(tower, none, PARAMS, tokenizer)
    value.backward()
    assert values == {"hard_negatives": 0.0, "total": 0.0}
    unnamed = dataclasses.replace(batch, region_text=torch.full_like(batch.region_text, -1))
    assert loss(tower, unnamed, PARAMS, tokenizer)[1]["hard_negatives"] == 0.0
