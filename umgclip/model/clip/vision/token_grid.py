"""The token grid of the running forward, for layers that read neighbouring tokens."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class TokenGrid:
    """Tokens of one forward: `prefix` of them stand for no place, then height x width of them row by row.

    Attributes:
        height: rows of the grid.
        width: columns of the grid.
        prefix: class and register tokens before the first row.
        valid: cells that hold image; None: all.
        padding: what is to be added to the attention logits of each token, for layers that are handed no mask.
    """

    height: int
    width: int
    prefix: int
    valid: Bool[Tensor, "b h w"] | None = None
    padding: Float[Tensor, "b n"] | None = None


_running: ContextVar[TokenGrid | None] = ContextVar("umgclip_token_grid", default=None)


def current_grid() -> TokenGrid | None:
    """Return the token grid of the forward running in this thread."""
    return _running.get()


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
            return block(tokens, **options)
        finally:
            _running.reset(before)

    if recompute and torch.is_grad_enabled():
        return checkpoint(call, x, use_reentrant=False)
    return call(x)
