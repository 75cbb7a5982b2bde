"""The asymmetric tag loss against a loop, torchvision's focal loss and plain BCE."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from umgclip.errors import InputError
from umgclip.losses import Asymmetry, asymmetric_loss
from umgclip.losses.similarity import scaled_cosine

RAM = Asymmetry(gamma_neg=7.0, gamma_pos=1.0, clip=0.05)
FOCUSES = [Asymmetry(), RAM, Asymmetry(2.0, 0.5, 0.0), Asymmetry(0.0, 0.0, 0.0), Asymmetry(0.5, 0.0, 0.2)]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    image, tags = torch.randn(4, 6, generator=generator), torch.randn(7, 6, generator=generator)
    targets = torch.rand(4, 7, generator=generator) < 0.3
    mask = torch.rand(4, 7, generator=generator) < 0.7
    mask[2] = False
    return image, tags, targets, mask


def of_features(
    image: Tensor,
    tags: Tensor,
    targets: Tensor,
    affine: tuple[float | Tensor, float | Tensor],
    mask: Tensor | None = None,
) -> Tensor:
    return asymmetric_loss(scaled_cosine(image, tags, *affine), targets, mask)


def loop(logits: Tensor, targets: Tensor, mask: Tensor, focus: Asymmetry) -> float:
    total, images = 0.0, 0
    for i in range(logits.shape[0]):
        images += bool(mask[i].any())
        for j in range(logits.shape[1]):
            if not mask[i, j]:
                continue
            p = 1 / (1 + math.exp(-float(logits[i, j])))
            if targets[i, j]:
                total -= (1 - p) ** focus.gamma_pos * math.log(p)
            else:
                p = max(p - focus.clip, 0)
                total -= p**focus.gamma_neg * math.log(1 - p)
    return total / max(images, 1)


@pytest.mark.parametrize("focus", FOCUSES)
def test_it_equals_the_loop(batch: tuple[Tensor, ...], focus: Asymmetry) -> None:
    image, tags, targets, mask = batch
    logits = scaled_cosine(image, tags, 4.0, -1.0)
    for known in (mask, torch.ones_like(mask)):
        got = asymmetric_loss(logits, targets, known, focus).item()
        assert got == pytest.approx(loop(logits, targets, known, focus), rel=1e-4)


def test_by_hand() -> None:
    # given p = 3/4 for both: the positive costs log 4/3, the negative (.75 - .05)^2 * -log(1 - .7)
    logits = torch.full((1, 2), math.log(3))
    got = asymmetric_loss(logits, torch.tensor([[True, False]]), None, Asymmetry(gamma_neg=2.0))
    assert got.item() == pytest.approx(math.log(4 / 3) - 0.49 * math.log(0.3), abs=1e-6)


def test_without_clip_it_is_the_focal_loss_and_without_focus_bce() -> None:
    torch.manual_seed(4)
    logits, targets = 5 * torch.randn(3, 8), torch.rand(3, 8) < 0.5
    focal = sigmoid_focal_loss(logits, targets.float(), alpha=-1, gamma=2, reduction="sum") / 3
    torch.testing.assert_close(asymmetric_loss(logits, targets, None, Asymmetry(2.0, 2.0, 0.0)), focal)
    bce = F.binary_cross_entropy_with_logits(logits, targets.float(), reduction="sum") / 3
    torch.testing.assert_close(asymmetric_loss(logits, targets, None, Asymmetry(0.0, 0.0, 0.0)), bce)


def test_what_is_not_known_is_not_counted(batch: tuple[Tensor, ...]) -> None:
    image, tags, targets, mask = batch
    flipped = torch.where(mask, targets, ~targets)
    assert of_features(image, tags, targets, (4.0, -1.0), mask) == of_features(image, tags, flipped, (4.0, -1.0), mask)


@pytest.mark.parametrize("focus", FOCUSES)
def test_gradients_are_right(focus: Asymmetry) -> None:
    torch.manual_seed(5)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    targets, mask = torch.rand(3, 4) < 0.5, torch.rand(3, 4) < 0.8
    assert torch.autograd.gradcheck(lambda x: asymmetric_loss(x, targets, mask, focus), logits)


def test_gradients_reach_features_scale_and_bias() -> None:
    torch.manual_seed(6)
    image, tags = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (2, 4))
    scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (3.0, -0.5))
    targets = torch.rand(2, 4) < 0.5
    assert torch.autograd.gradcheck(lambda i, t, s, b: of_features(i, t, targets, (s, b)), (image, tags, scale, bias))


@pytest.mark.parametrize("focus", FOCUSES)
def test_extreme_logits_stay_finite(focus: Asymmetry) -> None:
    logits = torch.tensor([[-200.0, 200.0, -200.0, 200.0]], requires_grad=True)
    loss = asymmetric_loss(logits, torch.tensor([[True, True, False, False]]), None, focus)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("images", "tags"), [(0, 3), (2, 0), (0, 0)])
def test_an_empty_batch_gives_a_connected_zero(images: int, tags: int) -> None:
    image, text = torch.ones(images, 4, requires_grad=True), torch.ones(tags, 4, requires_grad=True)
    loss = of_features(image, text, torch.zeros(images, tags, dtype=torch.bool), (10.0, 0.0))
    loss.backward()
    assert loss.item() == 0
    assert image.grad is not None
    assert text.grad is not None


def test_nothing_known_costs_nothing() -> None:
    image, nothing = torch.ones(2, 4, requires_grad=True), torch.zeros(2, 3, dtype=torch.bool)
    loss = of_features(image, torch.ones(3, 4), nothing, (10.0, 0.0), nothing)
    loss.backward()
    assert loss.item() == 0
    assert image.grad is not None
    assert (image.grad == 0).all()


def test_order_and_bf16(batch: tuple[Tensor, ...]) -> None:
    image, tags, targets, mask = batch
    rows, columns = torch.tensor([2, 0, 3, 1]), torch.tensor([6, 0, 5, 1, 2, 4, 3])
    plain = of_features(image, tags, targets, (4.0, -1.0), mask)
    shuffled = of_features(image[rows], tags[columns], targets[rows][:, columns], (4.0, -1.0), mask[rows][:, columns])
    torch.testing.assert_close(shuffled, plain)
    low = of_features(image.bfloat16(), tags.bfloat16(), targets, (4.0, -1.0), mask)
    high = of_features(image.bfloat16().float(), tags.bfloat16().float(), targets, (4.0, -1.0), mask)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, high)


@pytest.mark.usefixtures("shapes_unchecked")
def test_wrong_arguments_are_refused(batch: tuple[Tensor, ...]) -> None:
    image, tags, targets, mask = batch
    with pytest.raises(InputError, match=r"mask: expected shape \(4, 7\), got \(4, 1\)"):
        of_features(image, tags, targets, (4.0, 0.0), mask[:, :1])
    with pytest.raises(InputError, match=r"gamma_neg: expected a number >= 0, got -1"):
        Asymmetry(gamma_neg=-1.0)
    with pytest.raises(InputError, match=r"clip: expected a number in \[0, 1\), got 1"):
        Asymmetry(clip=1.0)
