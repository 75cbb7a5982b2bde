"""The basis of all objectives: cosines in float32, and a zero that keeps the graph connected."""

from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Scalar = float | Float[Tensor, ""]
"""A number, or a learnable scalar that receives gradients."""

MIN_NORM = 1.0e-12
"""Rows shorter than this count as zero vectors."""


def full_precision(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Cast half types to float32; float32 and float64 pass untouched.

    Args:
        values: Any shape, any floating type.

    Returns:
        The same shape in float32 or float64.
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def unit_rows(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """L2-normalise each row; leave zero rows zero.

    A zero row (a mask that pooled nothing) stays zero and gets a zero gradient, where dividing by a clamped norm
    would send back a gradient of 1 / eps.

    Args:
        features: Rows of any length.

    Returns:
        Rows of length 1, or 0 for a zero row, in float32 or float64.
    """
    unit: Tensor = _UnitRows.apply(full_precision(features))
    return unit


class _UnitRows(torch.autograd.Function):
    """`rows / |rows|` with its gradient `(g - u (g . u)) / |rows|`, in fewer passes over the rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401 - torch's own
        norms = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        factors = torch.where(norms > MIN_NORM, norms.clamp_min(MIN_NORM).reciprocal(), 0.0)
        unit = rows * factors
        ctx.save_for_backward(unit, factors)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        unit, factors = ctx.saved_tensors
        along = (gradient * unit).sum(dim=-1, keepdim=True)
        return torch.addcmul(gradient, unit, along, value=-1).mul_(factors)


def scaled_cosine(
    left: Float[Tensor, "n d"],
    right: Float[Tensor, "m d"],
    logit_scale: Scalar = 1.0,
    logit_bias: Scalar = 0.0,
) -> Float[Tensor, "n m"]:
    """Compute `logit_scale * cos(left_i, right_j) + logit_bias` for all pairs.

    Autocast is switched off for the product: it would round the cosines to bf16, whose step just below 1 is 0.004,
    that is 0.4 nats at a scale of 100.

    Args:
        left: Features, not necessarily normalised.
        right: Features, not necessarily normalised.
        logit_scale: Multiplier, already exponentiated (100 for a trained CLIP), not its logarithm.
        logit_bias: Added to every logit.

    Returns:
        Logits in float32, or float64 where the features are.
    """
    device_type = left.device.type
    available = torch.amp.is_autocast_available(device_type)
    with torch.autocast(device_type, enabled=False) if available else nullcontext():
        # the scale is a factor of the rows on the right, which are fewer numbers than the logits
        logits = unit_rows(left) @ (logit_scale * unit_rows(right)).T
        return logits if isinstance(logit_bias, float) and not logit_bias else logits + logit_bias


def connected_zero(*inputs: float | Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Give a zero that depends on every input, for a batch with nothing to learn from.

    Backward then leaves zero gradients rather than none, so that DistributedDataParallel does not wait for a parameter
    that this rank did not use. It sums an empty slice, for `inputs.sum() * 0.0` is NaN when the sum overflows.

    Args:
        *inputs: Tensors of any shape, at least one; plain numbers are skipped.

    Returns:
        0.0, with a graph to each tensor.
    """
    parts = [full_precision(value).reshape(-1)[:0].sum() for value in inputs if isinstance(value, Tensor)]
    return torch.stack([part.to(parts[0].dtype) for part in parts]).sum()
