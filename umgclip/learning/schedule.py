"""What every training here does alike: its optimizer, the rate of each step, and when the state is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from umgclip.params.section import LearningParams

Report = Callable[[int, dict[str, float]], None]


def optimizer_of(groups: Sequence[dict[str, Any]], params: LearningParams) -> torch.optim.AdamW:
    """The optimizer of groups of parameters; a group's own weight decay stands above that of `params`."""
    return torch.optim.AdamW(groups, lr=params.rate, betas=(0.9, 0.98), weight_decay=params.weight_decay, fused=True)


def begin_step(step: int, optimizer: torch.optim.Optimizer, params: LearningParams) -> float:
    """Make ready for a step: its rate, which is given back, random numbers of its own, no gradients."""
    rate = params.rate * schedule(step, params.steps, params.warmup_share)
    for group in optimizer.param_groups:
        group["lr"] = rate
    torch.manual_seed(params.seed * 1_000_003 + step)
    optimizer.zero_grad(set_to_none=True)
    return rate


def is_kept(step: int, params: LearningParams) -> bool:
    """Whether the state after a step becomes a checkpoint; that of the last one is the result."""
    done = step + 1
    return done % params.checkpoint_every == 0 and done < params.steps


def schedule(step: int, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then a cosine to 0, as a share of the peak."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
