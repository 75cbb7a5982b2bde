"""One total out of the objectives of a step."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.errors import InputError
from umgclip.params import LossWeights

TERMS = tuple(LossWeights.model_fields)
"""The names a term or a weight may have."""


def combine(
    terms: Mapping[str, Float[Tensor, ""]],
    weights: Mapping[str, float],
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Sum the terms, each times its weight.

    A term of weight 0 is refused, not ignored: by the time it comes here its forward pass has been paid for. The
    caller computes only objectives of weight above 0. A weight without its term is allowed: a step need not have
    every kind of label.

    Args:
        terms: The step's losses by name, scalars on one device, at least one.
        weights: Finite weights >= 0 by name, at least one for each term.

    Returns:
        The weighted total with its graph, and plain numbers for the log: each term before weighting, and "total".
        Reading the numbers waits for the device once.

    Raises:
        InputError: No terms; a name not in `TERMS`; a term without weight or of weight 0; a weight that is negative
            or not finite; a term that is not a scalar. The text names the term and what is allowed.
    """
    _check_weights(weights)
    _check_terms(terms, weights)
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    values = torch.stack([term.detach().to(total.dtype) for term in terms.values()] + [total.detach()]).tolist()
    return total, dict(zip([*terms, "total"], values, strict=True))


def _check_weights(weights: Mapping[str, float]) -> None:
    for name, weight in weights.items():
        _check_name("weights", name)
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"weights: expected a finite number >= 0 for {name!r}, got {weight}")


def _check_terms(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> None:
    if not terms:
        raise InputError(f"terms: expected at least one of {', '.join(TERMS)}, got none")
    for name, term in terms.items():
        _check_name("terms", name)
        if name not in weights:
            raise InputError(f"weights: expected a weight for term {name!r}, got only {', '.join(weights) or 'none'}")
        if weights[name] == 0:
            raise InputError(f"terms: expected no {name!r}, for its weight is 0 and it must not be computed, got one")
        if term.ndim != 0:
            raise InputError(f"terms: expected a scalar for {name!r}, got shape {tuple(term.shape)}")


def _check_name(field: str, name: str) -> None:
    if name not in TERMS:
        raise InputError(f"{field}: expected names out of {', '.join(TERMS)}, got {name!r}")
