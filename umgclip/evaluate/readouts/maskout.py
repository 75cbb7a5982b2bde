"""Masked-out crops: one forward pass per region, with the image's border colour outside the mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.reader import Reader
from umgclip.evaluate.readouts.readout import RegionBatch
from umgclip.geometry.crops import crop_region


@dataclass(frozen=True)
class Maskout:
    """Global embeddings of masked-out crops; `share` is the box's longer side as a share of the crop."""

    share: float
    needs_masks: bool = True
    reads_image: bool = False
    variants: int = 1

    def __call__(self, reader: Reader, batch: RegionBatch) -> list[Float[Tensor, "r d"]]:
        """Embed the regions by their masked-out crops."""
        crops = [
            crop_region(batch.examples[row].pixels, r.box_xyxy, r.mask, reader.crop_px, self.share, "background")
            for row, r in batch.regions
        ]
        return [reader.crops(crops)]

    def protocol(self, reader: Reader) -> dict[str, Any]:
        """Return the size, the share and the fill of the crops."""
        return {"crop_px": reader.crop_px, "frame": f"{self.share:g}", "fill": "border colour", "shape": "square"}
