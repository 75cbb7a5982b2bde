"""InfoNCE and the sigmoid loss against loops, open_clip, and the false-negative floor."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor

from umgclip.errors import InputError
from umgclip.losses import info_nce, sigmoid_loss

IDS = torch.tensor([4, 9, 4, 2, 4])


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 6, generator=generator), torch.randn(5, 6, generator=generator)


def cosine(left: Tensor, right: Tensor) -> float:
    return float(left.double() @ right.double() / (left.double().norm() * right.double().norm()))


def info_nce_loop(image: Tensor, text: Tensor, scale: float, ids: list[int]) -> float:
    total, rows = 0.0, len(ids)
    for queries, candidates in ((image, text), (text, image)):
        for i in range(rows):
            odds = [math.exp(scale * cosine(queries[i], candidates[j])) for j in range(rows)]
            right = sum(odds[j] for j in range(rows) if ids[j] == ids[i])
            total -= math.log(right / sum(odds)) / (2 * rows)
    return total


def sigmoid_loop(image: Tensor, text: Tensor, affine: tuple[float, float], ids: list[int]) -> float:
    total, rows = 0.0, len(ids)
    for i in range(rows):
        for j in range(rows):
            sign = 1 if ids[i] == ids[j] else -1
            logit = affine[0] * cosine(image[i], text[j]) + affine[1]
            total += math.log(1 + math.exp(-sign * logit)) / rows
    return total


@pytest.mark.parametrize("ids", [None, IDS])
def test_both_equal_their_loops(pair: tuple[Tensor, Tensor], ids: Tensor | None) -> None:
    plain = list(range(5)) if ids is None else ids.tolist()
    assert info_nce(*pair, 5.0, ids).item() == pytest.approx(info_nce_loop(*pair, 5.0, plain), rel=1e-5)
    assert sigmoid_loss(*pair, 5.0, -2.0, ids).item() == pytest.approx(
        sigmoid_loop(*pair, (5.0, -2.0), plain), rel=1e-5
    )


def test_info_nce_by_hand() -> None:
    # given two orthogonal pairs at a scale of log 3: each softmax is [3/4, 1/4]
    features = torch.eye(2)
    assert info_nce(features, features, math.log(3)).item() == pytest.approx(math.log(4 / 3), abs=1e-6)


def test_both_equal_open_clip(pair: tuple[Tensor, Tensor]) -> None:
    image, text = (F.normalize(features, dim=1) for features in pair)
    scale, bias = torch.tensor(10.0), torch.tensor(-10.0)
    torch.testing.assert_close(info_nce(*pair, scale), ClipLoss()(image, text, scale))
    torch.testing.assert_close(sigmoid_loss(*pair, scale, bias), SigLipLoss()(image, text, scale, bias))


def test_gradients_are_right() -> None:
    torch.manual_seed(2)
    inputs = [torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    scalars = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (3.0, -1.0)]
    for ids in (None, IDS):
        assert torch.autograd.gradcheck(lambda i, t, s, ids=ids: info_nce(i, t, s, ids), (*inputs, scalars[0]))
        assert torch.autograd.gradcheck(lambda i, t, s, b, ids=ids: sigmoid_loss(i, t, s, b, ids), (*inputs, *scalars))


def test_equal_captions_put_a_floor_under_plain_labels_but_not_under_joint_positives() -> None:
    # given 512 pairs of which 40 % carry one caption, and features that could not be better
    captions, equal = 512, 205
    ids = torch.cat([torch.zeros(equal, dtype=torch.long), torch.arange(1, captions - equal + 1)])
    features = F.one_hot(ids).float()
    floor = equal / captions * math.log(equal)
    # then plain labels stay at 2.13 nats, and joint positives reach nothing
    assert floor == pytest.approx(2.13, abs=0.01)
    assert info_nce(features, features, 100.0).item() == pytest.approx(floor, abs=1e-4)
    assert info_nce(features, features, 100.0, ids).item() == pytest.approx(0, abs=1e-5)
    # and no image features go below the floor, as the equal texts share their softmax
    for seed in range(3):
        noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(seed))
        for image in (noise, features + 0.3 * noise):
            assert info_nce(image, features, 100.0).item() > floor - 1e-4


def test_the_order_of_the_pairs_does_not_matter(pair: tuple[Tensor, Tensor]) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = [features[order] for features in pair]
    torch.testing.assert_close(info_nce(*shuffled, 5.0, IDS[order]), info_nce(*pair, 5.0, IDS))
    torch.testing.assert_close(sigmoid_loss(*shuffled, 5.0, 0.0, IDS[order]), sigmoid_loss(*pair, 5.0, 0.0, IDS))


@pytest.mark.parametrize("loss", [info_nce, lambda i, t, s, d: sigmoid_loss(i, t, s, -10.0, d)])
@pytest.mark.parametrize("ids", [None, torch.zeros(0, dtype=torch.long)])
def test_an_empty_batch_gives_a_connected_zero(loss: Callable[..., Tensor], ids: Tensor | None) -> None:
    image, scale = torch.zeros(0, 4, requires_grad=True), torch.tensor(5.0, requires_grad=True)
    total = loss(image, torch.zeros(0, 4), scale, ids)
    total.backward()
    assert total.item() == 0
    assert image.grad is not None
    assert scale.grad == 0


def test_bf16_features_are_computed_in_float32(pair: tuple[Tensor, Tensor]) -> None:
    low = [features.bfloat16().requires_grad_() for features in pair]
    high = [features.bfloat16().float() for features in pair]
    for loss in (lambda i, t: info_nce(i, t, 100.0), lambda i, t: sigmoid_loss(i, t, 100.0, -10.0)):
        total = loss(*low)
        total.backward()
        assert total.dtype == torch.float32
        torch.testing.assert_close(total, loss(*high))
    assert low[0].grad is not None
    assert low[0].grad.dtype == torch.bfloat16


@pytest.mark.usefixtures("shapes_unchecked")
def test_rows_that_do_not_match_are_refused(pair: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match=r"text_ids: expected shape \(5,\), got \(3,\)"):
        info_nce(*pair, 5.0, IDS[:3])
