"""The token grid of the running forward, for layers that read neighbouring tokens."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from umgclip.model.clip.vision.value_path import ValuePath

_Out = TypeVar("_Out")


@dataclass(frozen=True)
class TokenGrid:
    """Tokens of one forward: `prefix` of them stand for no place, then height x width of them row by row.

    Attributes:
        height: rows of the grid.
        width: columns of the grid.
        prefix: class and register tokens before the first row.
        valid: cells that hold image; None: all.
        padding: what is to be added to the attention logits of each token, for layers that are handed no mask.
        by_value: attention lets the prefix see all tokens and every other token itself only (`value_path`).
        merged: how the cells of another grid became the clusters that stand here; None: these are the image's cells.
    """

    height: int
    width: int
    prefix: int
    valid: Bool[Tensor, "b h w"] | None = None
    padding: Float[Tensor, "b n"] | None = None
    by_value: bool = False
    merged: Merged | None = None


@dataclass(frozen=True)
class Merged:
    """The way back from clusters to the cells that they were made of.

    Attributes:
        cells: the grid before.
        weights: of each cell's clusters, with a sum of 1.
    """

    cells: TokenGrid
    weights: Float[Tensor, "b cells clusters"]


_running: ContextVar[TokenGrid | None] = ContextVar("umgclip_token_grid", default=None)


def current_grid() -> TokenGrid | None:
    """Return the token grid of the forward running in this thread."""
    return _running.get()


def attending(block: Callable[..., _Out], *inputs: Any, **options: Any) -> _Out:  # noqa: ANN401 - any block's
    """Call a block with the kind of attention that the running grid asks for."""
    grid = current_grid()
    if grid is None or not grid.by_value:
        return block(*inputs, **options)
    with ValuePath(grid.prefix):
        return block(*inputs, **options)


def run_block(
    block: Callable[..., Tensor],
    x: Float[Tensor, "b *n d"],
    grid: TokenGrid,
    *,
    recompute: bool,
    **options: Any,  # noqa: ANN401 - what blocks of several libraries take
) -> Float[Tensor, "b *n d"]:
    """Call a block with its grid known.

    Args:
        block: anything that maps tokens to tokens.
        x: tokens.
        grid: where they stand.
        recompute: keep no activations, and call the block again in the backward pass (which may run in another
            thread, so the grid is set inside the call).
        **options: passed on.
    """

    def call(tokens: Tensor) -> Tensor:
        before = _running.set(grid)
        try:
            return attending(block, tokens, **options)
        finally:
            _running.reset(before)

    if recompute and torch.is_grad_enabled():
        return checkpoint(call, x, use_reentrant=False)
    return call(x)
