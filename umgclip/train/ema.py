"""An exponential moving average of the weights that learn."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def decay_at(step: int, decay: float) -> float:
    """Return the decay after step number `step`, counted from 0: less than `decay` in the first steps."""
    return min(decay, (1 + step) / (10 + step))


class Average:
    """`average = d * average + (1 - d) * weights` after each step.

    In the first steps d is `(1 + step) / (10 + step)` where that is less than the decay (as TensorFlow's
    `ExponentialMovingAverage` with `num_updates`), or the start would weigh for `1 / (1 - decay)` steps.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], decay: float) -> None:
        self._weights, self._decay = weights, decay
        self.values: dict[str, Tensor] = {name: p.detach().clone() for name, p in weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        decay = decay_at(step, self._decay)
        for name, value in self.values.items():
            value.lerp_(self._weights[name].detach(), 1 - decay)
