"""Recomputation and compilation of the residual blocks of both towers."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from umgclip.errors import InputError
from umgclip.model.clip.blocks import residual_blocks
from umgclip.model.clip.vision.token_grid import attending


def checkpoint_activations(tower: nn.Module) -> None:
    """Have every block keep its input only, and compute the rest again in the backward (Chen et al., 2016).

    Raises:
        InputError: the tower has no blocks of a known name.
    """
    modules = list(residual_blocks(tower))
    if not modules:
        raise InputError("train.checkpoint_activations: expected false for a model without residual blocks, got true")
    for block in modules:
        block.forward = partial(_recomputed, block.forward)


def _recomputed(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:  # noqa: ANN401 - any block's
    """Run a block so that its backward recomputes it with the same context variables, such as its token grid."""
    context = copy_context()
    return checkpoint(partial(context.run, attending, forward), *inputs, use_reentrant=False, **options)


def compile_blocks(tower: nn.Module) -> int:
    """Compile every residual block of a tower.

    Returns:
        How many modules will be compiled, at their first call.

    Raises:
        InputError: there is nothing to compile.
    """
    modules = list(residual_blocks(tower))
    if not modules:
        raise InputError("train.compile: expected false for a model without residual blocks, got true")
    for module in modules:
        module.compile(dynamic=True)
    return len(modules)
