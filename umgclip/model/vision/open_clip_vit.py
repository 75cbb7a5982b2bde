"""open_clip's own ViT: the value path of the last block is the dense read-out.

As in MaskCLIP (Zhou et al., ECCV 2022) and CLIPSelf (Wu et al., ICLR 2024) every patch token attends to itself only in
the last block, which is `out_proj(V(ln_1 x))`, while the class token attends to all tokens as ever. One attention mask
does both, so the global embedding is open_clip's own and dense features cost nothing but their final projection.
Towers that average their patch tokens (CLIPA) need the ordinary last block for that, so theirs runs twice.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor

from umgclip.errors import InputError
from umgclip.model.vision.encoder import as_map, mean_of_valid
from umgclip.model.vision.token_grid import TokenGrid, run_block


class OpenClipVit:
    """See the module's text."""

    def __init__(self, visual: Any) -> None:  # noqa: ANN401 - open_clip's VisionTransformer
        self._visual = visual
        height, width = visual.conv1.kernel_size
        self.patch_px: tuple[int, int] = (int(height), int(width))
        self.embed_dim = int(visual.proj.shape[1])

    @staticmethod
    def handles(visual: Any) -> bool:  # noqa: ANN401 - any image tower
        """Whether it is a ViT with a class token, pooled by it or by the mean."""
        return (
            hasattr(visual, "class_embedding")
            and getattr(visual, "attn_pool", None) is None
            and getattr(visual, "pool_type", None) in ("tok", "avg")
        )

    def __call__(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        """Global and dense embeddings."""
        visual = self._visual
        cells = visual.conv1(images)
        height, width = cells.shape[2:]
        x = cells.flatten(2).transpose(1, 2)
        cls = visual.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([cls, x], dim=1) + self._positions(height, width).to(x.dtype)
        x = visual.ln_pre(x)
        grid = TokenGrid(height, width, 1, valid)
        padding = None if valid is None else _padding(valid, x)
        blocks = list(visual.transformer.resblocks)
        for block in blocks[:-1]:
            x = self._block(block, x, grid, None, padding)
        by_value = self._block(blocks[-1], x, grid, value_path_mask(x.shape[1], x.device), padding)
        if visual.pool_type == "tok":
            tokens = self._project(visual.ln_post(by_value))
            return tokens[:, 0], as_map(tokens[:, 1:], height, width)
        mixed = self._block(blocks[-1], x, grid, None, padding)[:, 1:]
        if visual.final_ln_after_pool:
            mean = visual.ln_post(mean_of_valid(mixed, valid))
        else:
            mean = mean_of_valid(visual.ln_post(mixed), valid)
        return self._project(mean), as_map(self._project(visual.ln_post(by_value[:, 1:])), height, width)

    def _project(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows d"]:
        return F.normalize(x @ self._visual.proj, dim=-1)

    def _block(
        self,
        block: Any,  # noqa: ANN401 - open_clip's blocks
        x: Tensor,
        grid: TokenGrid,
        attn_mask: Tensor | None,
        padding: Tensor | None,
    ) -> Tensor:
        recompute = bool(self._visual.transformer.grad_checkpointing)
        if padding is None:
            options = {} if attn_mask is None else {"attn_mask": attn_mask}
            return run_block(block, x, grid, recompute=recompute, **options)
        if not isinstance(block, ResidualAttentionBlock):
            raise InputError(f"train.resize: expected squash, {type(block).__name__} cannot leave padding out; got pad")

        def padded(tokens: Tensor) -> Tensor:
            q = block.ln_1(tokens)
            mask = None if attn_mask is None else attn_mask.to(q.dtype)
            mixed = block.attn(q, q, q, need_weights=False, attn_mask=mask, key_padding_mask=padding.to(q.dtype))[0]
            tokens = tokens + block.ls_1(mixed)
            return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))

        return run_block(padded, x, grid, recompute=recompute)

    def _positions(self, height: int, width: int) -> Float[Tensor, "n width"]:
        """Positional embeddings for a grid of any size: 2-D bicubic resize, class token kept."""
        positions = self._visual.positional_embedding
        grid_h, grid_w = self._visual.grid_size
        if (height, width) == (grid_h, grid_w):
            return positions
        patches = positions[1:].reshape(1, grid_h, grid_w, -1).permute(0, 3, 1, 2).float()
        resized = F.interpolate(patches, (height, width), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([positions[:1], resized.flatten(2)[0].T.to(positions.dtype)])


def value_path_mask(length: int, device: torch.device) -> Float[Tensor, "length length"]:
    """Additive attention mask: row 0 (class token) sees all, every other row sees itself only."""
    hidden = ~torch.eye(length, dtype=torch.bool, device=device)
    hidden[0] = False
    return torch.zeros((length, length), device=device).masked_fill(hidden, float("-inf"))


def _padding(valid: Bool[Tensor, "b h w"], x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n"]:
    """What to add to the logits of each key: nothing, or so much that its weight is exactly 0.

    Finite, for in the value path a token without image still sees itself: minus infinity would make it NaN.
    """
    hidden = torch.zeros(x.shape[:2], device=x.device, dtype=torch.float32)
    return hidden.masked_fill(torch.cat([valid.new_ones(len(valid), 1), valid.flatten(1)], dim=1).logical_not(), -3e4)
