"""Muon in float32, matrices of one shape orthogonalised together.

`torch.optim.Muon` (Jordan et al., 2024) computes in bfloat16, one matrix at a time: on a processor without bfloat16
instructions that took half of a training step here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the quintic Newton-Schulz iteration of the reference


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton-Schulz; updates scaled to AdamW's root mean square (Liu et al., 2025)."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95, steps: int = 5
    ) -> None:
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "steps": steps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure, so it never returns a loss
        """Update every matrix that has a gradient."""
        del closure
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape[matrix.shape].append((matrix, matrix.grad))
            for shape, pairs in by_shape.items():
                directions = [self._nesterov(matrix, gradient, group["momentum"]) for matrix, gradient in pairs]
                updates = orthogonalise(torch.stack(directions), group["steps"])
                scale = group["lr"] * 0.2 * max(shape) ** 0.5
                for (matrix, _), update in zip(pairs, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)

    def _nesterov(self, matrix: nn.Parameter, gradient: Tensor, momentum: float) -> Tensor:
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        buffer: Tensor = state["momentum"]
        buffer.lerp_(gradient, 1 - momentum)
        return gradient.lerp(buffer, momentum)


def orthogonalise(matrices: Float[Tensor, "k m n"], steps: int) -> Float[Tensor, "k m n"]:
    """Return nearly the closest semi-orthogonal matrices: singular values are pushed to about 1.

    Each step multiplies by a polynomial of the Gram matrix from the left. All of them commute, so they are gathered in
    small square matrices and touch the wide ones once.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    gram = x @ x.mT
    unit = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    factor = unit.expand_as(gram)
    for step in range(steps):
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + a * unit
        factor = poly @ factor if step else poly
        if step + 1 < steps:
            gram = poly @ gram @ poly
    x = factor @ x
    return x.mT if tall else x
