"""The weighted total, and every refusal with its text."""

import pytest
import torch
from torch import Tensor

from umgclip.errors import InputError
from umgclip.train.objective.combine import TERMS, combine

ALLOWED = ", ".join(TERMS)
ONE = torch.tensor(1.0)


def test_the_total_is_the_weighted_sum_and_carries_the_graph() -> None:
    image_text = torch.tensor(2.0, requires_grad=True)
    pixel = torch.tensor(3.0, requires_grad=True)
    total, values = combine({"image_text": image_text, "pixel": pixel}, {"image_text": 1.0, "pixel": 0.5, "tags": 0.0})
    total.backward()
    assert values == {"image_text": 2.0, "pixel": 3.0, "total": 3.5}
    assert (image_text.grad, pixel.grad) == (1.0, 0.5)


def test_order_and_mixed_precision() -> None:
    terms: dict[str, Tensor] = {"tags": torch.tensor(1.5), "distill": torch.tensor(0.25, dtype=torch.float64)}
    weights = {"tags": 2.0, "distill": 4.0}
    assert combine(terms, weights)[1] == combine(dict(reversed(terms.items())), weights)[1]
    assert combine(terms, weights)[0].item() == 4.0


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("terms", "weights", "message"),
    [
        ({"piksel": ONE}, {"pixel": 1.0}, f"terms: expected names out of {ALLOWED}, got 'piksel'"),
        ({"pixel": ONE}, {"piksel": 1.0}, f"weights: expected names out of {ALLOWED}, got 'piksel'"),
        ({"pixel": ONE}, {"tags": 1.0}, "weights: expected a weight for term 'pixel', got only tags"),
        ({"pixel": ONE}, {"pixel": 0.0}, "terms: expected no 'pixel', for its weight is 0"),
        ({"pixel": ONE}, {"pixel": -1.0}, "expected a finite number >= 0 for 'pixel', got -1.0"),
        ({"pixel": ONE}, {"pixel": float("nan")}, "expected a finite number >= 0 for 'pixel', got nan"),
        ({"pixel": torch.ones(2)}, {"pixel": 1.0}, r"terms: expected a scalar for 'pixel', got shape (2,)"),
        ({}, {"pixel": 1.0}, "terms: expected at least one of"),
    ],
)
def test_refusals_name_the_term_and_what_is_allowed(
    terms: dict[str, Tensor], weights: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError) as refusal:
        combine(terms, weights)
    assert message in str(refusal.value)
