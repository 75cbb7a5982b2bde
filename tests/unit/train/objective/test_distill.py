"""Cosine distillation and the relational term against loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from umgclip.errors import InputError
from umgclip.train.objective.distill import cosine_distillation, relational_keep


@pytest.fixture
def models() -> list[Tensor]:
    """Image and text features of a tuned model of width 4, then of its base of width 6."""
    generator = torch.Generator().manual_seed(14)
    return [torch.randn(5, width, generator=generator) for width in (4, 4, 6, 6)]


def softmax_row(query: Tensor, candidates: Tensor, scale: float) -> list[float]:
    odds = [math.exp(scale * F.cosine_similarity(query, other, dim=0).item()) for other in candidates]
    return [value / sum(odds) for value in odds]


def relational_loop(models: list[Tensor], scale: float) -> float:
    image, text, base_image, base_text = models
    total, rows = 0.0, len(image)
    ways = ((image, text, base_image, base_text), (text, image, base_text, base_image))
    for left, right, base_left, base_right in ways:
        for i in range(rows):
            base = softmax_row(base_left[i], base_right, scale)
            tuned = softmax_row(left[i], right, scale)
            total += sum(p * math.log(p / q) for p, q in zip(base, tuned, strict=True)) / (2 * rows)
    return total


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 0, 0.5, 2, 1])])
def test_cosine_distillation_equals_the_loop(models: list[Tensor], weight: Tensor | None) -> None:
    student, teacher = models[:2]
    shares = [1.0] * 5 if weight is None else weight.tolist()
    costs = [1 - F.cosine_similarity(student[i], teacher[i], dim=0).item() for i in range(5)]
    expected = sum(share * cost for share, cost in zip(shares, costs, strict=True)) / sum(shares)
    assert cosine_distillation(student, teacher, weight).item() == pytest.approx(expected, rel=1e-5)


def test_cosine_distillation_by_hand() -> None:
    # given the same, the orthogonal and the opposite direction: 0, 1 and 2
    student = torch.tensor([[2.0, 0], [0, 3], [-1, 0]])
    teacher = torch.tensor([[1.0, 0]] * 3)
    assert cosine_distillation(student, teacher).item() == pytest.approx(1)
    assert cosine_distillation(student, teacher, torch.tensor([1.0, 0, 3])).item() == pytest.approx(1.5)


def test_the_teacher_is_detached(models: list[Tensor]) -> None:
    features = [value.clone().requires_grad_() for value in models]
    (cosine_distillation(*features[:2]) + relational_keep(features[0], features[0], *features[2:], 5.0)).backward()
    assert features[0].grad is not None
    assert all(teacher.grad is None for teacher in features[1:])


def test_relational_keep_equals_the_loop(models: list[Tensor]) -> None:
    assert relational_keep(*models, 5.0).item() == pytest.approx(relational_loop(models, 5.0), rel=1e-4)


def test_relational_keep_by_hand() -> None:
    # given a base that says [3/4, 1/4] and a tuned model that says [1/4, 3/4] in every row
    base, scale = torch.eye(2), math.log(3)
    got = relational_keep(base, base.flip(0), base, base, scale)
    assert got.item() == pytest.approx(0.5 * math.log(3), abs=1e-6)


def test_a_space_that_turned_as_a_whole_costs_nothing(models: list[Tensor]) -> None:
    _, _, image, text = models
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(15)))
    assert relational_keep(image @ rotation, text @ rotation, image, text, 100.0).item() == pytest.approx(0, abs=1e-5)
    assert cosine_distillation(image @ rotation, image).item() > 0.1


def test_gradients_are_right(models: list[Tensor]) -> None:
    image, text = (value.double().requires_grad_() for value in models[:2])
    base = [value.double() for value in models[2:]]
    weight = torch.rand(5, dtype=torch.float64, generator=torch.Generator().manual_seed(16)).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, w: cosine_distillation(s, models[1].double(), w), (image, weight))
    assert torch.autograd.gradcheck(lambda i, t: relational_keep(i, t, *base, 3.0), (image, text))


def test_empty_inputs_give_a_connected_zero() -> None:
    student = torch.ones(0, 4, requires_grad=True)
    unweighted = torch.ones(2, 4, requires_grad=True)
    empty = torch.ones(0, 6)
    loss = (
        cosine_distillation(student, torch.ones(0, 4))
        + cosine_distillation(unweighted, -torch.ones(2, 4), torch.zeros(2))
        + relational_keep(student, student, empty, empty, 10.0)
    )
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert unweighted.grad is not None


def test_order_and_bf16(models: list[Tensor]) -> None:
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled = [value[order] for value in models]
    torch.testing.assert_close(relational_keep(*shuffled, 5.0), relational_keep(*models, 5.0))
    torch.testing.assert_close(cosine_distillation(*shuffled[:2]), cosine_distillation(*models[:2]))
    low, high = [value.bfloat16() for value in models], [value.bfloat16().float() for value in models]
    assert relational_keep(*low, 100.0).dtype == cosine_distillation(*low[:2]).dtype == torch.float32
    torch.testing.assert_close(relational_keep(*low, 100.0), relational_keep(*high, 100.0))
    torch.testing.assert_close(cosine_distillation(*low[:2]), cosine_distillation(*high[:2]))


@pytest.mark.usefixtures("shapes_unchecked")
def test_batches_that_do_not_match_are_refused(models: list[Tensor]) -> None:
    with pytest.raises(InputError, match=r"teacher_image: expected shape \(5, 6\), got \(3, 6\)"):
        relational_keep(*models[:2], models[2][:3], models[3], 5.0)
