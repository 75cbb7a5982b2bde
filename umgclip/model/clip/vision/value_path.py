"""The value path of a whole block without a mask of all tokens by all tokens.

A token that sees itself only has one key, so its attention is its value. The few tokens before the first cell (class
and registers) are queries over all tokens as ever. Every attention of open_clip and timm ends in torch's
`scaled_dot_product_attention`, and this replaces that call alone: projections, rotary embeddings, norms, gates and
adapters around it stay the block's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from umgclip.model.clip.attention import Attention


class ValuePath(TorchFunctionMode):
    """While it is entered, self-attention in this thread takes the value path after the first `prefix` tokens."""

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self._prefix = prefix

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Pass every function on but self-attention."""
        options = kwargs or {}
        if func is not F.scaled_dot_product_attention or args[0].shape[-2] != args[1].shape[-2]:
            return func(*args, **options)
        return by_value(*args, prefix=self._prefix, **options)


def by_value(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "b heads n d"],
    value: Float[Tensor, "b heads n d"],
    *,
    prefix: int,
    attn_mask: Tensor | None = None,
    **options: Any,  # noqa: ANN401 - torch's own
) -> Float[Tensor, "b heads n d"]:
    """Compute attention in which tokens after the prefix see themselves only.

    Args:
        query: of all tokens.
        key: of all tokens.
        value: of all tokens.
        prefix: tokens that see all others.
        attn_mask: as in `scaled_dot_product_attention`; of its rows those of the prefix are read.
        **options: of `scaled_dot_product_attention`, for the prefix.
    """
    if attn_mask is not None and attn_mask.shape[-2] != 1:
        attn_mask = attn_mask[..., :prefix, :]
    seen = F.scaled_dot_product_attention(query[..., :prefix, :], key, value, attn_mask=attn_mask, **options)
    return torch.cat([seen, value[..., prefix:, :]], dim=-2)


def is_supported(attention: nn.Module) -> bool:
    """Return whether an attention layer calls torch's fused function, which `ValuePath` replaces."""
    inner: Any = getattr(attention, "inner", attention)  # beside a branch of convpass
    return isinstance(inner, Attention) or bool(getattr(inner, "fused_attn", False))
