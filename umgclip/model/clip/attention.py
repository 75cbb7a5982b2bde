"""open_clip's self-attention as two ordinary linear layers around torch's fused kernel.

`nn.MultiheadAttention` calls neither of its projections: it reads their weights. So no adapter of a linear layer fits
it, and peft's layer of its own for it (0.21.2) computes `W + 2 dW` for the out-projection while the gradient is that of
`W + dW` (huggingface/peft pull 3774). Here both are called, under the names that open_clip's weights have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.texts.shared_prefixes import current_tree

_PARTS = 3  # query, key, value
_PER_IMAGE = 3  # dimensions of a mask with a row an image and head


class InProjection(nn.Linear):
    """The linear layer of query, key and value; in files `in_proj_weight` and `in_proj_bias`, as torch names them."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:  # noqa: ANN401, FBT001 - torch's
        inside = prefix.endswith("in_proj.")  # else an adapter holds it under another name
        super()._save_to_state_dict(destination, f"{prefix[:-1]}_" if inside else prefix, keep_vars)


class Attention(nn.Module):
    """Multi-head self-attention, equal to `nn.MultiheadAttention` without dropout.

    Attributes:
        in_proj: to query, key and value, one after the other.
        out_proj: of the heads' results.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        """Take over the parameters of torch's module; see `fits`."""
        super().__init__()
        self.num_heads, self.batch_first = int(attention.num_heads), bool(attention.batch_first)
        self.embed_dim = int(attention.embed_dim)
        with torch.device("meta"):
            self.in_proj: Any = InProjection(self.embed_dim, _PARTS * self.embed_dim)
            self.out_proj: Any = nn.Linear(self.embed_dim, self.embed_dim)
        self.in_proj.weight, self.in_proj.bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj.weight, self.out_proj.bias = attention.out_proj.weight, attention.out_proj.bias
        self.train(attention.training)

    @staticmethod
    def fits(attention: nn.Module) -> bool:
        """Return whether a module is torch's, with one width and no option that open_clip does not use."""
        return (
            type(attention) is nn.MultiheadAttention
            and attention.in_proj_weight is not None
            and attention.bias_k is None
            and not attention.add_zero_attn
            and not attention.dropout
        )

    def forward(
        self,
        query: Float[Tensor, "*rows d"],
        key: Float[Tensor, "*keys d"] | None = None,
        value: Float[Tensor, "*keys d"] | None = None,
        *,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "*rows d"], None]:
        """Compute attention exactly as `nn.MultiheadAttention.forward` does.

        Args:
            query: (b, n, d), or (n, b, d) where the module is not `batch_first`.
            key: the same tensor; None: it.
            value: the same tensor; None: it.
            key_padding_mask: (b, n), True where a key is left out, or numbers added to its logits.
            attn_mask: (n, n) or (b x heads, n, n), True where a query does not see a key, or numbers added.
            need_weights: refused; the fused kernel keeps none.

        Returns:
            The result, and None in the place of the weights.

        Raises:
            InputError: keys or values of their own, or weights, are asked for.
        """
        if need_weights or any(other is not None and other is not query for other in (key, value)):
            raise InputError("attention: expected one tensor as query, key and value and need_weights false")
        x = query if self.batch_first else query.transpose(0, 1)
        projected = self.in_proj(x)
        tree = current_tree()
        with _kernel_dtype(projected) as dtype:
            if tree is None:
                q, k, v = self._heads(projected.to(dtype))
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self._mask(attn_mask, key_padding_mask, q))
                rows = mixed.transpose(1, 2).flatten(2).to(projected.dtype)
            else:
                rows = tree.attend(projected, self.num_heads, dtype)
        out = self.out_proj(rows)
        return out if self.batch_first else out.transpose(0, 1), None

    def first(self, x: Float[Tensor, "b n d"], count: int) -> Float[Tensor, "b count d"]:
        """Return the result of the first tokens alone, which attend to all, without computing that of the others."""
        q, k, v = self._heads(self.in_proj(x))
        mixed = F.scaled_dot_product_attention(q[:, :, :count], k, v)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, projected: Float[Tensor, "b n thrice"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value of the in-projection's result, each (b, heads, n, d / heads)."""
        heads = projected.unflatten(-1, (_PARTS, self.num_heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def values(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the value part of the in-projection, all heads side by side."""
        return self.in_proj(x).chunk(_PARTS, dim=-1)[2]

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, like: Tensor) -> Tensor | None:
        """Return what is added to the logits, (b or 1, heads or 1, n, n)."""
        mask = None if attn_mask is None else _added(attn_mask, like)
        if mask is not None and mask.ndim == _PER_IMAGE:
            mask = mask.unflatten(0, (-1, self.num_heads))
        if padding is None:
            return mask
        keys = _added(padding, like)[:, None, None]
        return keys if mask is None else mask + keys

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:  # noqa: ANN401 - torch's
        if isinstance(self.in_proj, InProjection):
            for name in ("weight", "bias"):
                if (known := f"{prefix}in_proj_{name}") in state_dict:
                    state_dict[f"{prefix}in_proj.{name}"] = state_dict.pop(known)
        super()._load_from_state_dict(state_dict, prefix, *others)

    @property
    def in_proj_weight(self) -> Tensor:
        """The in-projection's weight, as torch's module names it."""
        weight: Tensor = self.in_proj.weight
        return weight

    @property
    def in_proj_bias(self) -> Tensor | None:
        """The in-projection's bias, as torch's module names it."""
        bias: Tensor | None = self.in_proj.bias
        return bias


@contextmanager
def _kernel_dtype(projected: Tensor) -> Iterator[torch.dtype]:
    """Give the type to compute attention in: float32 where bfloat16 is to be differentiated on a CPU.

    There torch's fused kernel (2.15) takes four to seven times as long for the backward in bfloat16 as in float32.
    """
    if projected.device.type != "cpu" or projected.dtype != torch.bfloat16 or not projected.requires_grad:
        yield projected.dtype
        return
    with torch.autocast("cpu", enabled=False):
        yield torch.float32


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """Convert a mask to numbers that are added to logits."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill(mask, -torch.inf)


def with_linear_attention(clip: nn.Module) -> nn.Module:
    """Replace torch's attention by `Attention` in every block of open_clip's own towers, and return the same model.

    Parameters stay the same objects, and names in files stay the same. A second call changes nothing. A plain
    open_clip model needs this before peft can load an adapter of this package into it.
    """
    modules: list[Any] = list(clip.modules())
    for block in modules:
        usual = isinstance(block, open_clip.transformer.ResidualAttentionBlock)
        if usual and not hasattr(block, "ln_1_kv") and Attention.fits(block.attn):
            block.attn = Attention(block.attn)
    return clip
