"""Token-text cross-entropy against a loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from umgclip.errors import InputError
from umgclip.train.objective.pixel import pixel_loss


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Seven tokens and three texts; tokens 1 and 4 are background, their target is not an index."""
    generator = torch.Generator().manual_seed(11)
    tokens, texts = torch.randn(7, 5, generator=generator), torch.randn(3, 5, generator=generator)
    target = torch.tensor([0, -1, 2, 1, 99, 0, 2])
    weight = torch.tensor([1.0, 0, 0.25, 0.5, 0, 1, 0.75])
    return tokens, texts, target, weight


def pixel_loop(batch: tuple[Tensor, ...], scale: float) -> float:
    tokens, texts, target, weight = batch
    total = mass = 0.0
    for token, answer, share in zip(tokens, target.tolist(), weight.tolist(), strict=True):
        if share == 0:
            continue
        odds = [math.exp(scale * F.cosine_similarity(token, text, dim=0).item()) for text in texts]
        total -= share * math.log(odds[answer] / sum(odds))
        mass += share
    return total / mass


def test_pixel_loss_equals_the_loop(batch: tuple[Tensor, ...]) -> None:
    assert pixel_loss(*batch, 5.0).item() == pytest.approx(pixel_loop(batch, 5.0), rel=1e-5)


def test_pixel_loss_on_the_docstring_example() -> None:
    loss = pixel_loss(torch.eye(2), torch.eye(2), torch.tensor([0, 0]), torch.tensor([1.0, 0.5]), math.log(3))
    assert loss.item() == pytest.approx((math.log(4 / 3) + 0.5 * math.log(4)) / 1.5, abs=1e-6)


def test_background_is_not_read_and_gets_no_gradient(batch: tuple[Tensor, ...]) -> None:
    tokens, texts, target, weight = batch
    tokens = tokens.clone()
    tokens[1] = torch.nan
    tokens.requires_grad_()
    loss = pixel_loss(tokens, texts, target, weight, 5.0)
    loss.backward()
    assert loss.item() == pytest.approx(pixel_loop(batch, 5.0), rel=1e-5)
    assert tokens.grad is not None
    assert (tokens.grad[[1, 4]] == 0).all()


def test_equal_texts_share_the_probability(batch: tuple[Tensor, ...]) -> None:
    tokens, texts, target, weight = batch
    equal = torch.eye(3, dtype=torch.bool)
    torch.testing.assert_close(pixel_loss(*batch, 5.0, equal), pixel_loss(*batch, 5.0))
    equal[0, 2] = equal[2, 0] = True
    total = mass = 0.0
    for token, answer, share in zip(tokens, target.tolist(), weight.tolist(), strict=True):
        if share == 0:
            continue
        odds = [math.exp(5.0 * F.cosine_similarity(token, text, dim=0).item()) for text in texts]
        right = odds[0] + odds[2] if answer in (0, 2) else odds[1]
        total -= share * math.log(right / sum(odds))
        mass += share
    assert pixel_loss(*batch, 5.0, equal).item() == pytest.approx(total / mass, rel=1e-5)


def test_scaling_all_weights_changes_nothing(batch: tuple[Tensor, ...]) -> None:
    tokens, texts, target, weight = batch
    torch.testing.assert_close(pixel_loss(tokens, texts, target, 0.1 * weight, 5.0), pixel_loss(*batch, 5.0))


def test_pixel_gradients_are_right(batch: tuple[Tensor, ...]) -> None:
    tokens, texts, weight = (batch[i].double().requires_grad_() for i in (0, 1, 3))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    kept = batch[3] > 0  # at weight 0 the loss has a kink: the token comes in
    assert torch.autograd.gradcheck(
        lambda x, t, w, s: pixel_loss(x, t, batch[2][kept], w, s), (tokens[kept], texts, weight[kept], scale)
    )


@pytest.mark.parametrize(("tokens", "texts"), [(0, 0), (0, 2), (3, 0), (3, 2)])
def test_no_weight_gives_a_connected_zero(tokens: int, texts: int) -> None:
    token, text = torch.ones(tokens, 4, requires_grad=True), torch.ones(texts, 4, requires_grad=True)
    loss = pixel_loss(token, text, torch.full((tokens,), -1), torch.zeros(tokens), 10.0)
    loss.backward()
    assert loss.item() == 0
    assert token.grad is not None
    assert text.grad is not None


def test_pixel_order_and_bf16(batch: tuple[Tensor, ...]) -> None:
    tokens, texts, target, weight = batch
    order = torch.tensor([6, 2, 0, 4, 1, 5, 3])
    torch.testing.assert_close(
        pixel_loss(tokens[order], texts, target[order], weight[order], 5.0), pixel_loss(*batch, 5.0)
    )
    tokens, texts = tokens.bfloat16(), texts.bfloat16()
    low = pixel_loss(tokens, texts, target, weight.bfloat16(), 5.0)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, pixel_loss(tokens.float(), texts.float(), target, weight, 5.0))


@pytest.mark.usefixtures("shapes_unchecked")
def test_wrong_arguments_are_refused(batch: tuple[Tensor, ...]) -> None:
    tokens, texts, target, weight = batch
    with pytest.raises(InputError, match=r"weight: expected shape \(7,\), got \(6,\)"):
        pixel_loss(tokens, texts, target, weight[:6], 5.0)
    with pytest.raises(InputError, match=r"target: expected indices in \[0, 2\), got values from 0 to 2"):
        pixel_loss(tokens, texts[:2], target, weight, 5.0)
    with pytest.raises(InputError, match=r"equal: expected shape \(3, 3\), got \(2, 2\)"):
        pixel_loss(*batch, 5.0, torch.eye(2, dtype=torch.bool))
