"""timm's ViT and EVA towers inside open_clip (EVA02-B-16, ViT-B-16-SigLIP, ...).

Read by the class token: the value path in the last block, as in `open_clip_vit`. Read by the mean: the same in a second
run of the last block. Read by an attention-pooling head (SigLIP): the last block stays whole, and each token goes
through the value path of the pooling head alone (`proj(V(x)) + mlp`), which is MaskCLIP's read-out of the attention
pool of CLIP's ResNets: what the pooled embedding would be if the query saw this token only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float
from timm.layers import AttentionPoolLatent, PatchEmbed, resample_abs_pos_embed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from umgclip.model.clip.vision.clustering import applies, clustering_of, run_merged
from umgclip.model.clip.vision.encoder import as_map, mean_of_valid, to_unit
from umgclip.model.clip.vision.reach import neighbours, reach_of
from umgclip.model.clip.vision.token_grid import TokenGrid, run_block
from umgclip.model.clip.vision.value_path import is_supported

_GRIDS_KEPT = 64


class TimmVit:
    """The encoder of timm's ViT in open_clip."""

    def __init__(self, visual: Any) -> None:  # noqa: ANN401 - open_clip's TimmModel
        self._visual = visual
        trunk = visual.trunk
        height, width = trunk.patch_embed.patch_size
        self.patch_px: tuple[int, int] = (int(height), int(width))
        self.embed_dim = _embed_dim(visual)
        self._ropes: dict[tuple[int, ...], Tensor] = {}

    @staticmethod
    def handles(visual: Any) -> bool:  # noqa: ANN401 - any image tower
        """Return whether a tower is a timm ViT of plain patches, pooled by class token, mean or attention."""
        trunk: Any = getattr(visual, "trunk", None)
        if not isinstance(trunk, (VisionTransformer, Eva)) or type(trunk.patch_embed) is not PatchEmbed:
            return False
        pool: Any = trunk.attn_pool
        if getattr(trunk, "rope_mixed", False) or getattr(trunk, "pool_include_prefix", False):
            return False
        if pool is not None:
            return (
                isinstance(pool, AttentionPoolLatent)
                and getattr(pool, "pos_embed", None) is None
                and pool.latent_len == 1
            )
        return trunk.global_pool in ("token", "avg")

    def __call__(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        """Global and dense embeddings."""
        trunk = self._visual.trunk
        x, height, width = self._tokens(images, valid)
        grid = TokenGrid(height, width, trunk.num_prefix_tokens, valid)
        blocks, clustering = list(trunk.blocks), clustering_of(self._visual)
        if clustering is not None and applies(clustering, grid):
            x = run_merged(blocks, x, grid, clustering, self._run)
        else:
            x = self._run(blocks[:-1], x, grid)
        by_class = trunk.attn_pool is None and trunk.global_pool == "token"
        mixed = None if by_class else self._run(blocks[-1:], x, grid)
        if trunk.attn_pool is not None:
            return self._by_attention(trunk.norm(mixed), grid)
        by_value = self._by_value(blocks[-1], x, grid)
        if mixed is None:
            tokens = self._head(trunk.norm(by_value))
            return tokens[:, 0], as_map(tokens[:, grid.prefix :], height, width)
        pooled = mean_of_valid(trunk.norm(mixed)[:, grid.prefix :], valid)
        return self._head(pooled), as_map(self._head(trunk.norm(by_value)[:, grid.prefix :]), height, width)

    def _tokens(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
    ) -> tuple[Float[Tensor, "b n channels"], int, int]:
        """Return what the first block reads, and the rows and columns of the grid."""
        del valid  # positions are those of the canvas
        trunk = self._visual.trunk
        cells = trunk.patch_embed.proj(images)
        height, width = cells.shape[2:]
        x = self._embed(trunk.patch_embed.norm(cells.flatten(2).transpose(1, 2)), height, width)
        return trunk.norm_pre(x), height, width

    def _run(self, blocks: Sequence[Any], x: Tensor, grid: TokenGrid) -> Tensor:
        """Run ordinary blocks."""
        options, keys = self._rope_of(grid, x), _keys(grid)
        ordinary = options if keys is None else {**options, "attn_mask": keys[:, None, None, :]}
        for block in blocks:
            x = run_block(block, x, grid, recompute=bool(self._visual.trunk.grad_checkpointing), **ordinary)
        return x

    def _by_value(self, block: Any, x: Tensor, grid: TokenGrid) -> Tensor:  # noqa: ANN401 - a block
        """Run a block whose cells see themselves and what is in reach, without a mask of all tokens where it can."""
        reach = reach_of(self._visual)
        if not reach and is_supported(block.attn):
            return self._run([block], x, replace(grid, by_value=True))
        mask = _value_path(grid, reach, _keys(grid), x.device)
        recompute = bool(self._visual.trunk.grad_checkpointing)
        return run_block(block, x, grid, recompute=recompute, **{**self._rope_of(grid, x), "attn_mask": mask})

    def _embed(self, x: Float[Tensor, "b n width"], height: int, width: int) -> Float[Tensor, "b m width"]:
        """Prefix tokens and positional embeddings of a grid of any size, as `trunk._pos_embed` does at its own."""
        trunk = self._visual.trunk
        extra = (trunk.cls_token, getattr(trunk, "reg_token", None))
        prefix = [token.expand(x.shape[0], -1, -1) for token in extra if token is not None]
        if trunk.pos_embed is None:
            return torch.cat([*prefix, x], dim=1)
        positions = self.positions(height, width)
        if trunk.no_embed_class:
            return trunk.pos_drop(torch.cat([*prefix, x + positions], dim=1))
        return trunk.pos_drop(torch.cat([*prefix, x], dim=1) + positions)

    def positions(self, height: int, width: int) -> Float[Tensor, "1 n channels"]:
        """Return the positional embeddings of a grid of any size, with those of prefix tokens that have some."""
        trunk = self._visual.trunk
        grid = list(trunk.patch_embed.grid_size)
        if [height, width] == grid:
            return trunk.pos_embed
        kind = getattr(self._visual, "umgclip_positions", "antialiased")
        return resample_abs_pos_embed(
            trunk.pos_embed,
            [height, width],
            old_size=grid,
            num_prefix_tokens=0 if trunk.no_embed_class else trunk.num_prefix_tokens,
            interpolation="bilinear" if kind == "bilinear" else "bicubic",
            antialias=kind != "plain",
        )

    def _rope_of(self, grid: TokenGrid, x: Tensor) -> dict[str, Any]:
        """Return the rotary embeddings of a grid as a block's option; none for towers without."""
        rope = getattr(self._visual.trunk, "rope", None)
        if rope is None:
            return {}
        size = (grid.height, grid.width)
        if grid.merged is None:
            return {"rope": self._rope(size, size, x)}
        return {"rope": self._rope(size, (grid.merged.cells.height, grid.merged.cells.width), x)}

    def _rope(self, size: tuple[int, int], span: tuple[int, int], x: Tensor) -> Float[Tensor, "n twice_head"]:
        """Rotary embeddings of a grid of any size; timm keeps those of one size in the module.

        A tower with a reference grid spreads any grid over it, so that clusters stand where their cells do, but for
        one offset of all, which no rotary attention sees. Without a reference, clusters are spread over their cells.

        Args:
            size: rows and columns.
            span: rows and columns of the image's cells, of which a cluster covers several.
            x: tokens, for their device.
        """
        rope = self._visual.trunk.rope
        if not hasattr(rope, "feat_shape") or (size == span and size == tuple(rope.feat_shape or ())):
            return rope.get_embed(shape=list(size))
        key = (*size, *span)
        if key not in self._ropes:
            resized = copy.deepcopy(rope)
            if size != span and getattr(resized, "ref_feat_shape", None) is None:
                resized.ref_feat_shape = list(span)
                if resized.feat_shape is not None:
                    resized.feat_shape = [0, 0]  # what it remembers is of another reference
            resized.update_feat_shape(list(size))
            while len(self._ropes) >= _GRIDS_KEPT:
                self._ropes.pop(next(iter(self._ropes)), None)
            self._ropes[key] = resized.get_embed(shape=list(size)).detach()
        return self._ropes[key].to(x.device)

    def _head(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows d"]:
        """Run what follows the pooling, which acts on each row alone."""
        trunk = self._visual.trunk
        return to_unit(self._visual.head(trunk.head(trunk.head_drop(trunk.fc_norm(x)))))

    def _by_attention(
        self, x: Float[Tensor, "b n width"], grid: TokenGrid
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        pool = self._visual.trunk.attn_pool
        # timm's ViT hands the pool its patches only, its EVA (Perception Encoder) the class token too
        prefix = 0 if isinstance(self._visual.trunk, Eva) else grid.prefix
        read, patches = x[:, prefix:], x[:, grid.prefix :]
        alone = pool.proj_drop(pool.proj(pool.kv(patches).chunk(2, dim=-1)[1]))
        if pool.mlp is not None:
            alone = alone + pool.mlp(pool.norm(alone))
        if grid.valid is None:
            pooled = pool(read)
        else:
            before = grid.valid.new_ones(read.shape[0], grid.prefix - prefix)
            pooled = pool(read, attn_mask=torch.cat([before, grid.valid.flatten(1)], dim=1)[:, None, None, :])
        return self._head(pooled), as_map(self._head(alone), grid.height, grid.width)


def _keys(grid: TokenGrid) -> Bool[Tensor, "b n"] | None:
    """Return which tokens hold image, the prefix included; None: all."""
    if grid.valid is None:
        return None
    return torch.cat([grid.valid.new_ones(grid.valid.shape[0], grid.prefix), grid.valid.flatten(1)], 1)


def _value_path(
    grid: TokenGrid, reach: int, keys: Bool[Tensor, "b n"] | None, device: torch.device
) -> Bool[Tensor, "b_or_1 1 n n"]:
    """Return the attention mask of the value path.

    Class and register tokens see the image, others themselves and the cells with image in their reach.
    """
    prefix = grid.prefix
    itself = torch.eye(prefix + grid.height * grid.width, dtype=torch.bool, device=device)
    near = itself
    if reach:  # not in place: an export of a change through a view loses it
        near = near | F.pad(neighbours(grid.height, grid.width, reach, device), (prefix, 0, prefix, 0))
    mask = near[None, None].repeat(1 if keys is None else keys.shape[0], 1, 1, 1)
    if keys is not None:
        mask = mask & keys[:, None, None, :] | itself
    mask[:, :, :prefix] = True if keys is None else keys[:, None, None, :]
    return mask


def _embed_dim(visual: Any) -> int:  # noqa: ANN401 - open_clip's TimmModel
    """Outputs of the last linear layer, or of the trunk where there is none."""
    linears = [layer for layer in visual.head.modules() if isinstance(layer, nn.Linear)]
    if linears:
        return int(linears[-1].out_features)
    return int(visual.trunk.num_classes or visual.trunk.num_features)
