"""The residual blocks of both towers, and what can be done to each of them: recomputation, compilation, division."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from umgclip.errors import InputError

_STACKS = ("resblocks", "blocks")  # open_clip's name for them, and timm's


def blocks(tower: nn.Module, *, images_only: bool = False) -> Iterator[nn.Module]:
    """Residual blocks of both towers, or of the one for images, in order."""
    for name, module in tower.named_modules():
        *path, last = name.split(".")
        wanted = last in _STACKS and ("visual" in path or not images_only)
        if wanted and isinstance(module, nn.ModuleList | nn.Sequential):
            yield from module


def checkpoint_activations(tower: nn.Module) -> None:
    """Have every block keep its input only, and compute the rest again in the backward (Chen et al., 2016).

    Raises:
        InputError: the tower has no blocks of a known name.
    """
    modules = list(blocks(tower))
    if not modules:
        raise InputError("train.checkpoint_activations: expected false for a model without residual blocks, got true")
    for block in modules:
        block.forward = partial(_recomputed, block.forward)


def _recomputed(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:  # noqa: ANN401 - any block's
    """Run a block so that its backward recomputes it with the same context variables, such as its token grid."""
    context = copy_context()
    return checkpoint(partial(context.run, forward), *inputs, use_reentrant=False, **options)


def compile_blocks(tower: nn.Module) -> int:
    """Compile every residual block of a tower.

    Returns:
        How many modules will be compiled, at their first call.

    Raises:
        InputError: there is nothing to compile.
    """
    modules = list(blocks(tower))
    if not modules:
        raise InputError("train.compile: expected false for a model without residual blocks, got true")
    for module in modules:
        module.compile(dynamic=True)
    return len(modules)
