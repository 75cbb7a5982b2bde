"""open_clip's own ViT: the value path of the last block is the dense read-out.

As in MaskCLIP (Zhou et al., ECCV 2022) and CLIPSelf (Wu et al., ICLR 2024) every patch token attends to itself only in
the last block, which is `out_proj(V(ln_1 x))`, while the class token attends to all tokens as ever. One call of the
block does both, so the global embedding is open_clip's own and dense features cost nothing but their final projection.
Towers that average their patch tokens (CLIPA) need the ordinary last block for that, so theirs runs twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip.attention import Attention
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.vision.clustering import applies, clustering_of, run_merged
from umgclip.model.clip.vision.encoder import as_map, mean_of_valid, to_unit
from umgclip.model.clip.vision.reach import neighbours, reach_of
from umgclip.model.clip.vision.token_grid import TokenGrid, current_grid, run_block
from umgclip.model.clip.vision.value_path import is_supported

_HIDDEN = -3e4  # has a place in float16, and its exponential has none in float32


class OpenClipVit:
    """The encoder of open_clip's own ViT."""

    def __init__(self, visual: Any) -> None:  # noqa: ANN401 - open_clip's VisionTransformer
        self._visual = visual
        height, width = visual.conv1.kernel_size
        self.patch_px: tuple[int, int] = (int(height), int(width))
        self.embed_dim = int(visual.proj.shape[1])

    @staticmethod
    def handles(visual: Any) -> bool:  # noqa: ANN401 - any image tower
        """Return whether a tower is a ViT with a class token, pooled by it or by the mean."""
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
        x, grid = self.embed(images, valid)
        blocks, clustering = self.blocks, clustering_of(visual)
        last = blocks[-1]
        if clustering is not None and applies(clustering, grid):
            x = run_merged(blocks, x, grid, clustering, self._run)
        else:
            x = self._run(blocks[:-1], x, grid)
        by_value = self._by_value(last, x, grid)
        if self.reads_class_token:
            tokens = self.project(by_value, norm=True)
            return tokens[:, 0], as_map(tokens[:, 1:], grid.height, grid.width)
        mixed = self.block(last, x, grid)[:, 1:]
        if visual.final_ln_after_pool:
            mean = visual.ln_post(mean_of_valid(mixed, valid))
        else:
            mean = mean_of_valid(visual.ln_post(mixed), valid)
        dense = as_map(self.project(by_value[:, 1:], norm=True), grid.height, grid.width)
        return self.project(mean, norm=False), dense

    def image_only(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b d"]:
        """Global embeddings alone: of a tower read by its class token, the last block computes that token's only."""
        blocks = self.blocks
        last = blocks[-1]
        usual = type(last) is open_clip.transformer.ResidualAttentionBlock
        plain = usual and isinstance(last.attn, Attention) and last.attn.batch_first
        if not (self.reads_class_token and plain) or self.clustered:
            return self(images, None)[0]
        x, grid = self.embed(images, None)
        x = self._run(blocks[:-1], x, grid)
        token = x[:, :1] + last.ls_1(last.attn.first(last.ln_1(x), 1))
        token = token + last.ls_2(last.mlp(last.ln_2(token)))
        return self.project(token[:, 0], norm=True)

    @property
    def reads_class_token(self) -> bool:
        """True if the global embedding is the class token's."""
        return bool(self._visual.pool_type == "tok")

    @property
    def clustered(self) -> bool:
        """True if blocks run on clusters of tokens, for images with more tokens than clusters."""
        return clustering_of(self._visual) is not None

    @property
    def blocks(self) -> list[Any]:
        """The residual blocks of the transformer, in order."""
        return list(self._visual.transformer.resblocks)

    def embed(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
    ) -> tuple[Float[Tensor, "b n channels"], TokenGrid]:
        """Return the input of the first block, and the grid of its tokens."""
        visual = self._visual
        cells = visual.conv1(images)
        height, width = cells.shape[2:]
        x = cells.flatten(2).transpose(1, 2)
        cls = visual.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([cls, x], dim=1) + self.positions(height, width).to(x.dtype)
        grid = TokenGrid(height, width, 1, valid, None if valid is None else self._padding(valid))
        return visual.ln_pre(x), grid

    def project(self, x: Float[Tensor, "*rows channels"], *, norm: bool) -> Float[Tensor, "*rows d"]:
        """Tokens, normalised by the tower's last layer norm if asked, into the joint space."""
        x = self._visual.ln_post(x) if norm else x
        return to_unit(x @ self._visual.proj)

    def block(self, block: nn.Module, x: Tensor, grid: TokenGrid, **options: Tensor) -> Tensor:
        """Run one residual block on the tokens."""
        return run_block(block, x, grid, recompute=bool(self._visual.transformer.grad_checkpointing), **options)

    def _dense_mask(self, grid: TokenGrid, device: torch.device) -> Float[Tensor, "length length"]:
        """Return the attention mask of the last block, whose dense tokens see themselves and what is in reach."""
        mask = value_path_mask(1 + grid.height * grid.width, device)
        reach = reach_of(self._visual)
        if not reach:
            return mask
        # not in place: an export of a change through a view loses it
        return mask.masked_fill(F.pad(neighbours(grid.height, grid.width, reach, device), (1, 0, 1, 0)), 0.0)

    def _run(self, blocks: Sequence[Any], x: Tensor, grid: TokenGrid) -> Tensor:
        """Run ordinary blocks; on a grid of clusters, those without image are left out."""
        if grid.valid is not None and grid.padding is None:
            grid = replace(grid, padding=self._padding(grid.valid))
        for block in blocks:
            x = self.block(block, x, grid)
        return x

    def _by_value(self, block: Any, x: Tensor, grid: TokenGrid) -> Tensor:  # noqa: ANN401 - a residual block
        if reach_of(self._visual) or not is_supported(block.attn):
            return self.block(block, x, grid, attn_mask=self._dense_mask(grid, x.device))
        return self.block(block, x, replace(grid, by_value=True))

    def _padding(self, valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b n"]:
        """Return what is added to the logits of each key: 0, or a number so low that the weight is exactly 0.

        The number is finite, because in the value path a token without image still sees itself: minus infinity gives
        NaN. open_clip's blocks pass no padding to their attention, so each attention fetches it from the grid.
        """
        for block in self._visual.transformer.resblocks:
            if not isinstance(block, open_clip.transformer.ResidualAttentionBlock):
                name = type(block).__name__
                raise InputError(f"train.resize: expected squash, {name} cannot leave padding out; got pad")
            if _leave_padding_out not in block.attn._forward_pre_hooks.values():
                block.attn.register_forward_pre_hook(_leave_padding_out, with_kwargs=True)
        image = torch.cat([valid.new_ones(valid.shape[0], 1), valid.flatten(1)], dim=1)
        return torch.zeros(image.shape, device=valid.device).masked_fill(~image, _HIDDEN)

    def positions(self, height: int, width: int) -> Float[Tensor, "n width"]:
        """Return the positional embeddings for a grid of any size: 2-D bicubic resize, class token kept.

        Antialiased as open_clip does on loading, or plain as CLIPSelf and FG-CLIP (`base.positions`).
        """
        positions = self._visual.positional_embedding
        grid_h, grid_w = self._visual.grid_size
        if (height, width) == (grid_h, grid_w):
            return positions
        patches = positions[1:].reshape(1, grid_h, grid_w, -1).permute(0, 3, 1, 2).float()
        kind = getattr(self._visual, "umgclip_positions", "antialiased")
        mode = "bilinear" if kind == "bilinear" else "bicubic"
        resized = F.interpolate(patches, (height, width), mode=mode, antialias=kind != "plain", align_corners=False)
        return torch.cat([positions[:1], resized.flatten(2)[0].T.to(positions.dtype)])


def value_path_mask(length: int, device: torch.device) -> Float[Tensor, "length length"]:
    """Additive attention mask: row 0 (class token) sees all, every other row sees itself only."""
    hidden = ~torch.eye(length, dtype=torch.bool, device=device)
    hidden[0] = False
    return torch.zeros((length, length), device=device).masked_fill(hidden, float("-inf"))


def _leave_padding_out(_: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any] | None:
    """Before an attention layer runs."""
    grid = current_grid()
    if grid is None or grid.padding is None:
        return None
    return inputs, {**options, "key_padding_mask": grid.padding.to(inputs[0].dtype)}
