"""Optimizer, learning rate of each step and checkpoint interval, shared by `train` and `segment`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from umgclip.params.section import LearningParams

Report = Callable[[int, dict[str, float]], None]


def optimizer_of(groups: Sequence[dict[str, Any]], params: LearningParams) -> torch.optim.AdamW:
    """Return AdamW over groups of parameters; a group's own weight decay overrides that of `params`."""
    return torch.optim.AdamW(groups, lr=params.rate, betas=(0.9, 0.98), weight_decay=params.weight_decay, fused=True)


def begin_step(step: int, optimizer: torch.optim.Optimizer, params: LearningParams, factor: float = 1.0) -> float:
    """Prepare a step: set its rate (returned), times a factor, seed its random numbers, clear the gradients."""
    rate = params.rate * schedule(step, params.steps, params.warmup_share, params.schedule) * factor
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
    torch.manual_seed(params.seed * 1_000_003 + step)
    optimizer.zero_grad(set_to_none=True)
    return rate


def is_kept(step: int, params: LearningParams) -> bool:
    """Check whether the state after a step is saved; the state after the last step is the result instead."""
    done = step + 1
    return done % params.checkpoint_every == 0 and done < params.steps


def schedule(step: int, steps: int, warmup_share: float, kind: str = "cosine") -> float:
    """Return the rate as a share of the peak: linear warm-up, then a cosine to 0, or `constant` at the peak."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
