"""Texts against the texts nearest to them, against a loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from umgclip.train.objective.tic import NEAREST, SAME, textual_contrast


def loop(texts: Tensor, scale: float) -> float:
    costs = []
    for i, text in enumerate(texts):
        cosines = [F.cosine_similarity(text, other, dim=0).item() for j, other in enumerate(texts) if j != i]
        near = sorted((cosine for cosine in cosines if cosine <= SAME), reverse=True)[:NEAREST]
        if near:
            costs.append(math.log(sum(math.exp(scale * cosine) for cosine in near)))
    return sum(costs) / len(costs)


@pytest.mark.parametrize("count", [2, 5, 11, 12, 40])
def test_it_equals_the_loop(count: int) -> None:
    texts = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    assert textual_contrast(texts, 7.0).item() == pytest.approx(loop(texts, 7.0), rel=1e-5)


def test_on_the_docstring_example() -> None:
    texts = torch.tensor([[1.0, 0, 0], [0.5, math.sqrt(0.75), 0], [0, 0, 1]])
    assert textual_contrast(texts, math.log(4)).item() == pytest.approx((2 * math.log(3) + math.log(2)) / 3)


def test_texts_in_other_words_are_not_driven_apart() -> None:
    texts = torch.tensor([[1.0, 0.0], [0.99, 0.14]], requires_grad=True)
    value = textual_contrast(texts, 10.0)
    value.backward()
    assert value.item() == 0
    assert texts.grad.abs().max() == 0


@pytest.mark.parametrize("count", [0, 1])
def test_without_another_text_it_is_a_connected_zero(count: int) -> None:
    texts = torch.ones(count, 4, requires_grad=True)
    value = textual_contrast(texts, 10.0)
    value.backward()
    assert value.item() == 0
    assert texts.grad is not None


def test_a_text_with_fewer_near_ones_than_others_has_finite_gradients() -> None:
    texts = torch.tensor([[1.0, 0, 0], [0.999, 0.03, 0], [0, 1, 0], [0, 0, 1]], requires_grad=True)
    value = textual_contrast(texts, 10.0)
    value.backward()
    assert value.item() == pytest.approx(loop(texts.detach(), 10.0), rel=1e-5)
    assert texts.grad.isfinite().all()
    assert texts.grad.abs().max() > 0


def test_gradients_are_right() -> None:
    torch.manual_seed(1)
    texts = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: textual_contrast(t, 2.0), texts)
