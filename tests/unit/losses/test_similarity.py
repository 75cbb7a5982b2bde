"""Cosines, zeros and the joint softmax that the objectives are made of."""

import math

import pytest
import torch

from umgclip.errors import InputError
from umgclip.losses.checks import require_index, require_shape
from umgclip.losses.joint_softmax import joint_positive_nll
from umgclip.losses.similarity import connected_zero, scaled_cosine, unit_rows


def test_cosines_equal_a_loop() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(4, 5), torch.randn(3, 5)
    got = scaled_cosine(left, right, 7.0, -2.0)
    for i in range(4):
        for j in range(3):
            cosine = float(left[i] @ right[j]) / (float(left[i].norm()) * float(right[j].norm()))
            assert got[i, j].item() == pytest.approx(7 * cosine - 2, abs=1e-5)


def test_a_zero_row_has_cosine_zero_and_no_gradient() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    unit = unit_rows(rows)
    unit.sum().backward()
    assert unit.tolist() == [[0, 0], [pytest.approx(0.6), pytest.approx(0.8)]]
    assert rows.grad is not None
    assert rows.grad[0].tolist() == [0, 0]
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_types_are_raised_and_double_is_kept(given: torch.dtype, expected: torch.dtype) -> None:
    assert scaled_cosine(torch.ones(1, 2, dtype=given), torch.ones(1, 2, dtype=given)).dtype == expected


def test_autocast_does_not_round_the_cosines() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(8, 16), torch.randn(8, 16)
    plain = scaled_cosine(left, right, 100.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(scaled_cosine(left, right, 100.0), plain)


def test_connected_zero_gives_zero_gradients_even_beside_infinity() -> None:
    features = torch.tensor([[torch.inf, 1.0]], requires_grad=True)
    scale = torch.tensor(3.0, requires_grad=True)
    zero = connected_zero(features, 2.0, scale)
    zero.backward()
    assert zero.item() == 0
    assert features.grad is not None
    assert features.grad.tolist() == [[0, 0]]
    assert scale.grad == 0


def test_joint_softmax_on_the_docstring_example() -> None:
    logits = torch.tensor([[3.0, 1.0, 4.0]]).log()
    loss = joint_positive_nll(logits, torch.tensor([[True, True, False]]))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)


def test_joint_softmax_keeps_precision_at_large_logits() -> None:
    logits = torch.tensor([[100.0, 100.0, 90.0]])
    exact = math.log1p(math.exp(-10) / 2)
    got = joint_positive_nll(logits, torch.tensor([[True, True, False]])).item()
    assert got == pytest.approx(exact, abs=2e-7)


def test_checks_name_what_was_expected_and_what_came() -> None:
    with pytest.raises(InputError, match=r"mask: expected shape \(2, 3\), got \(2, 1\)"):
        require_shape("mask", torch.ones(2, 1), (2, 3))
    with pytest.raises(InputError, match=r"target: expected indices in \[0, 3\), got values from -1 to 5"):
        require_index("target", torch.tensor([5, -1]), 0, 3)
    require_index("target", torch.tensor([], dtype=torch.long), 0, 0)
