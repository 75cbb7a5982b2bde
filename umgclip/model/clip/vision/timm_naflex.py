"""timm's NaFlex ViT (SigLIP 2 NaFlex, FG-CLIP 2): any grid of patches, with positions stretched to each image's own.

An image that fills only part of the canvas (`valid`) is a grid of its own: its positions are those of its rows and
columns, as the authors of NaFlex do it, and its padding is masked. So a batch holds images of any aspect ratio.

Resizing positions is separable. So the positions of all grids of a batch are two small matrix products with the
weights of rows and of columns, which torch differentiates and exports.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float, Int
from timm.layers import AttentionPoolLatent
from timm.models.naflexvit import NaFlexVit
from torch import Tensor

from umgclip.model.clip.vision.timm_vit import TimmVit


class TimmNaFlex(TimmVit):
    """The encoder of timm's NaFlex ViT with learned positions and an attention-pooling head."""

    def __init__(self, visual: Any) -> None:  # noqa: ANN401 - open_clip's TimmModel
        self._visual = visual
        height, width = visual.trunk.embeds.patch_size
        self.patch_px: tuple[int, int] = (int(height), int(width))
        self.embed_dim = int(visual.trunk.num_features)
        self._tables: dict[tuple[int, int], Tensor] = {}

    @staticmethod
    def handles(visual: Any) -> bool:  # noqa: ANN401 - any image tower
        """Return whether a tower is a NaFlex ViT as SigLIP 2 has it."""
        trunk: Any = getattr(visual, "trunk", None)
        return (
            isinstance(trunk, NaFlexVit)
            and isinstance(trunk.attn_pool, AttentionPoolLatent)
            and trunk.num_prefix_tokens == 0
            and trunk.rope is None
            and getattr(trunk.embeds, "pos_embed", None) is not None
            and trunk.embeds.is_linear
            and not trunk.embeds.pos_embed_ar_preserving
        )

    def _tokens(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
    ) -> tuple[Float[Tensor, "b n channels"], int, int]:
        """Return what the first block reads, and the rows and columns of the grid."""
        trunk = self._visual.trunk
        embeds, (patch_h, patch_w) = trunk.embeds, self.patch_px
        weight = embeds.proj.weight.unflatten(1, (patch_h, patch_w, 3)).permute(0, 3, 1, 2)
        cells = F.conv2d(images, weight, embeds.proj.bias, stride=self.patch_px)
        height, width = cells.shape[2:]
        if valid is None:
            rows = torch.tensor([height], device=images.device)
            columns = torch.tensor([width], device=images.device)
        else:
            rows, columns = valid.any(dim=2).sum(dim=1), valid.any(dim=1).sum(dim=1)
        x = cells.flatten(2).transpose(1, 2) + self._positions(rows, columns, height, width).flatten(1, 2)
        return trunk.norm_pre(embeds.pos_drop(embeds.norm(x))), height, width

    def positions(self, height: int, width: int) -> Float[Tensor, "1 n channels"]:
        """Return the positional embeddings of an image that fills a grid of any size."""
        rows, columns = torch.tensor([height]), torch.tensor([width])
        return self._positions(rows, columns, height, width).flatten(1, 2)

    def _positions(
        self, rows: Int[Tensor, "k"], columns: Int[Tensor, "k"], height: int, width: int
    ) -> Float[Tensor, "k height width channels"]:
        """Return the positions of grids of given rows and columns, each at the top left of the canvas."""
        positions = self._visual.trunk.embeds.pos_embed[0]
        by_row = self._table(positions, height, 0)[rows]
        by_column = self._table(positions, width, 1)[columns]
        return torch.einsum("kyr,kxc,rcd->kyxd", by_row, by_column, positions.float()).to(positions.dtype)

    def _table(self, positions: Tensor, most: int, axis: int) -> Float[Tensor, "sizes most learned"]:
        """Return for each size up to `most` the weights of the learned places, zero past the size."""
        key = (most, int(positions.shape[axis]))
        table = self._tables.get(key)
        if table is None:
            embeds = self._visual.trunk.embeds
            table = _resizing(*key, embeds.pos_embed_interp_mode, antialias=embeds.pos_embed_antialias)
            if not torch.compiler.is_exporting():  # what is made while tracing holds no numbers
                self._tables[key] = table
        return table.to(positions.device)


def _resizing(most: int, learned: int, mode: str, *, antialias: bool) -> Float[Tensor, "sizes most learned"]:
    """Return the matrices that resize `learned` places to 1, 2, ..., `most`, as torch does it on one axis."""
    table = torch.zeros(most + 1, most, learned)
    # a channel for each learned place; two columns, because torch 2.15 resizes a single one wrongly with antialias
    places = torch.eye(learned)[None, :, :, None].repeat(1, 1, 1, 2)
    for size in range(1, most + 1):
        resized = F.interpolate(places, (size, 2), mode=mode, align_corners=False, antialias=antialias)
        table[size, :size] = resized[0, :, :, 0].T
    return table
