"""Regions pooled out of a dense map: RoIAlign in the middle of the box, or the mean over the mask on the token grid.

`path` names the map: `value` is the model's own dense map (MaskCLIP, CLIPSelf: in the last block every token attends to
itself), `raw` the same before its tokens are brought to length 1 (FG-CLIP 2), `last` are the tokens of the ordinary
last block, `surgery` those of CLIP Surgery's second path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.reader import Dense, Reader
from umgclip.evaluate.readouts.readout import RegionBatch, mask_of
from umgclip.model.clip.readout import cell_weights, pool_boxes, pool_masks, read_masks
from umgclip.model.clip.vision.encoder import DensePath


@dataclass(frozen=True)
class Pooled:
    """Embeddings of boxes or masks, pooled out of a dense map of the whole image."""

    path: DensePath
    pooling: Literal["box", "mask"]
    box_share: float = 1.0
    reads_image: bool = True
    variants: int = 1

    @property
    def needs_masks(self) -> bool:
        """True if it pools masks, so that regions need one."""
        return self.pooling == "mask"

    def __call__(self, reader: Reader, batch: RegionBatch) -> list[Float[Tensor, "r d"]]:
        """Embed the regions by pooling the dense map."""
        dense = batch.seen.dense if self.path == "value" else reader.dense(batch.examples, self.path)
        return [_in_boxes(batch, dense, self.box_share) if self.pooling == "box" else _in_masks(batch, dense)]

    def protocol(self, _: Reader) -> dict[str, Any]:
        """Return the name of the map and the kind of pooling."""
        if self.pooling == "mask":
            return {"map": self.path, "pooling": "mean over the mask on the token grid"}
        return {"map": self.path, "pooling": "RoIAlign, one bin", "box_share": self.box_share}


def _in_boxes(batch: RegionBatch, dense: Dense, share: float) -> Float[Tensor, "r d"]:
    boxes = batch.box_shares()
    if isinstance(dense, torch.Tensor):
        return pool_boxes(dense, boxes, batch.rows(), share)
    alone = torch.zeros(1, dtype=torch.long)
    pairs = zip(batch.regions, boxes, strict=True)
    return torch.cat([pool_boxes(dense[row][None], box[None], alone, share) for (row, _), box in pairs])


def _in_masks(batch: RegionBatch, dense: Dense) -> Float[Tensor, "r d"]:
    if not isinstance(dense, torch.Tensor):
        return torch.cat([read_masks(dense[row], [mask_of(region)]) for row, region in batch.regions])
    grid = (dense.shape[2], dense.shape[3])
    weights = cell_weights([mask_of(region) for _, region in batch.regions], grid)
    return pool_masks(dense, weights, batch.rows())
