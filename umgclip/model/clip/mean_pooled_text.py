"""TIPSv2's text tower: sinusoidal positions, attention among all tokens that are no padding, read by their mean.

It is open_clip's text transformer but for these, so adapters and attention are the same. Checked against transformers'
`Tipsv2TextModel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from umgclip.model.clip.light_open_clip import open_clip

_LONGEST_WAVE = 10_000.0


class MeanPooledText(open_clip.transformer.TextTransformer):
    """A text tower without learned positions and without a projection."""

    def __init__(self, text_cfg: Mapping[str, Any], embed_dim: int) -> None:
        """Build with random weights.

        Args:
            text_cfg: open_clip's config of a text tower.
            embed_dim: of the joint space; must be the tower's width.

        Raises:
            ValueError: it is not.
        """
        width = int(text_cfg["width"])
        if width != embed_dim:
            raise ValueError(f"text_cfg.width: expected embed_dim {embed_dim}, got {width}")
        super().__init__(
            context_length=int(text_cfg["context_length"]),
            vocab_size=int(text_cfg["vocab_size"]),
            width=width,
            heads=int(text_cfg["heads"]),
            layers=int(text_cfg["layers"]),
            mlp_ratio=float(text_cfg.get("mlp_ratio", 4.0)),
            no_causal_mask=True,
            use_pad_mask=True,
            pad_id=int(text_cfg.get("pad_id", 0)),
            pool_type="none",
            proj_type="none",
            act_layer=nn.ReLU,
            norm_layer=partial(open_clip.transformer.LayerNorm, eps=1e-5),
        )
        del self.positional_embedding
        self.register_buffer("sinusoids", _sinusoids(self.context_length, width), persistent=False)

    def forward(self, text: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:
        """Return the mean over the tokens of each text; zeros for a text without any."""
        holds = text != self.pad_id
        # a text without a token would have nothing to attend to: it sees its padding, and is dropped by the mean
        seen = holds | ~holds.any(dim=1, keepdim=True)
        x = self.token_embedding(text) * math.sqrt(self.width) + self.sinusoids[: text.shape[1]]
        hidden = torch.zeros(seen.shape, dtype=x.dtype, device=x.device).masked_fill(~seen, float("-inf"))
        mask = hidden[:, None, :].expand(-1, text.shape[1], -1).repeat_interleave(self.heads, dim=0)
        x = self.ln_final(self.transformer(x, attn_mask=mask))
        weight = holds[:, :, None].to(x.dtype)
        mean: Tensor = (x * weight).sum(dim=1) / (weight.sum(dim=1) + 1e-8)
        return mean


def _sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """Return sine and cosine of each place in waves of growing length (tensor2tensor's table)."""
    half = width // 2
    rates = torch.exp(torch.arange(half).float() * -(math.log(_LONGEST_WAVE) / (half - 1)))
    angles = torch.arange(length).float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
