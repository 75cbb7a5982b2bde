"""An open_clip model that gives global, dense and text embeddings in one forward.

Dense features follow the value path of MaskCLIP (Zhou et al., ECCV 2022) and CLIPSelf (Wu et al., ICLR 2024): in the
last block every patch token attends to itself only, which is `out_proj(V(ln_1 x))`, while the class token attends to
all tokens as ever. One attention mask does both, so the global embedding is open_clip's own and dense features cost
nothing but their final projection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor, nn

from umgclip.errors import InputError

_SHORT_TEXT = 8  # tokens, with both ends: names and tags; captions are longer


class ClipOutput(NamedTuple):
    """L2-normalised embeddings of one forward: images (b, d), their dense map (b, d, h, w), texts (t, d)."""

    image: Float[Tensor, "b d"]
    dense: Float[Tensor, "b d h w"]
    text: Float[Tensor, "t d"]


class DenseClip(nn.Module):
    """Wrap an open_clip `CLIP` (bare or holding peft adapters) so that every learnable call is one `forward`."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        visual: Any = getattr(clip, "visual", None)
        by_class = hasattr(visual, "class_embedding") and getattr(visual, "pool_type", None) == "tok"
        if not by_class or visual.attn_pool is not None:
            raise InputError(
                f"model: expected an open_clip ViT pooled by its class token (ViT-B-32, ViT-B-16, ViT-L-14, ...), "
                f"got {type(visual).__name__}"
            )
        if not hasattr(clip, "token_embedding"):
            raise InputError(f"model: expected open_clip's CLIP with a built-in text tower, got {type(clip).__name__}")
        if clip.text_pool_type != "argmax" or clip.attn_mask is None or not isinstance(clip.text_projection, Tensor):
            raise InputError(
                "model: expected a causal text tower read at its end-of-text token and projected by a matrix, "
                f"got pool_type {clip.text_pool_type!r}, causal {clip.attn_mask is not None}, "
                f"projection {type(clip.text_projection).__name__}"
            )
        self.clip: Any = clip  # nn.Module types every submodule as Tensor | Module

    @property
    def patch_px(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return tuple(self.clip.visual.conv1.kernel_size)

    @property
    def context_length(self) -> int:
        """Longest text in tokens."""
        return int(self.clip.positional_embedding.shape[0])

    @property
    def embed_dim(self) -> int:
        """Dimension of the joint space."""
        return int(self.clip.visual.proj.shape[1])

    def logit_scale(self) -> Float[Tensor, ""]:
        """The learned inverse temperature, as a factor (already exponentiated), at most 100."""
        return self.clip.logit_scale.exp().clamp(max=100.0)

    def forward(self, images: Float[Tensor, "b 3 height width"], tokens: Int[Tensor, "t length"]) -> ClipOutput:
        """Embed images and texts; see `ClipOutput`."""
        image, dense = self.encode_image(images)
        return ClipOutput(image, dense, self.encode_text(tokens))

    def encode_image(
        self, images: Float[Tensor, "b 3 height width"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        """Global and dense embeddings, L2-normalised, of images whose sides are multiples of the patch.

        Raises:
            InputError: a side is no multiple of the patch.
        """
        visual = self.clip.visual
        patch_h, patch_w = self.patch_px
        if images.shape[2] % patch_h or images.shape[3] % patch_w:
            raise InputError(f"images: expected sides in multiples of {self.patch_px}, got {tuple(images.shape[2:])}")
        grid = visual.conv1(images)
        height, width = grid.shape[2:]
        x = grid.flatten(2).transpose(1, 2)
        cls = visual.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([cls, x], dim=1) + self._positions(height, width).to(x.dtype)
        x = visual.ln_pre(x)
        blocks = list(visual.transformer.resblocks)
        for block in blocks[:-1]:
            x = block(x)
        x = blocks[-1](x, attn_mask=value_path_mask(x.shape[1], x.device))
        x = visual.ln_post(x) @ visual.proj
        x = F.normalize(x, dim=-1)
        dense = x[:, 1:].transpose(1, 2).unflatten(2, (height, width))
        return x[:, 0], dense

    def _positions(self, height: int, width: int) -> Float[Tensor, "n width"]:
        """Positional embeddings for a grid of any size: 2-D bicubic resize, class token kept."""
        positions = self.clip.visual.positional_embedding
        grid_h, grid_w = self.clip.visual.grid_size
        if (height, width) == (grid_h, grid_w):
            return positions
        patches = positions[1:].reshape(1, grid_h, grid_w, -1).permute(0, 3, 1, 2).float()
        resized = F.interpolate(patches, (height, width), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([positions[:1], resized.flatten(2)[0].T.to(positions.dtype)])

    def encode_text(self, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:
        """Text embeddings, L2-normalised; hardly any padding is computed: texts of similar length go together.

        Causal attention makes what stands after the end-of-text token irrelevant, so the result is open_clip's own.
        """
        clip = self.clip
        if tokens.shape[0] == 0:
            return tokens.new_zeros((0, self.embed_dim), dtype=clip.text_projection.dtype)
        ends = tokens.argmax(dim=1)
        is_short = ends < _SHORT_TEXT
        groups = [rows for rows in (is_short.nonzero()[:, 0], (~is_short).nonzero()[:, 0]) if len(rows)]
        encoded = torch.cat([self._encode_padded(tokens[rows], ends[rows]) for rows in groups])
        return encoded[torch.cat(groups).argsort()]

    def _encode_padded(self, tokens: Int[Tensor, "t length"], ends: Int[Tensor, "t"]) -> Float[Tensor, "t d"]:
        clip, length = self.clip, int(ends.max()) + 1
        x = clip.token_embedding(tokens[:, :length]) + clip.positional_embedding[:length]
        x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
        x = clip.ln_final(x[torch.arange(len(x), device=x.device), ends])
        return F.normalize(x @ clip.text_projection, dim=-1)


def value_path_mask(length: int, device: torch.device) -> Float[Tensor, "length length"]:
    """Additive attention mask: row 0 (class token) sees all, every other row sees itself only."""
    mask = torch.full((length, length), float("-inf"), device=device)
    mask.fill_diagonal_(0.0)
    mask[0] = 0.0
    return mask
