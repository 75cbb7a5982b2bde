"""Crops: one forward pass per region, on a square crop around its box.

`share` is the box's longer side as a share of the crop: 1 is a tight crop, less leaves context around it. Of several
shares the best one is chosen on the other half of the images, so that no region influences its own choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.reader import Reader
from umgclip.evaluate.readouts.readout import RegionBatch
from umgclip.geometry.crops import crop_region


@dataclass(frozen=True)
class Crop:
    """Global embeddings of square crops around the boxes, for each of the shares."""

    shares: Sequence[float]
    needs_masks: bool = False
    reads_image: bool = False

    @property
    def variants(self) -> int:
        """The number of embeddings per region: one per share."""
        return len(self.shares)

    def __call__(self, reader: Reader, batch: RegionBatch) -> list[Float[Tensor, "r d"]]:
        """Embed the regions, once for each share."""
        side = reader.crop_px
        return [
            reader.crops(
                [crop_region(batch.examples[row].pixels, r.box_xyxy, None, side, share) for row, r in batch.regions]
            )
            for share in self.shares
        ]

    def protocol(self, reader: Reader) -> dict[str, Any]:
        """Return the size of the crops and the choice of the share."""
        frame = " or ".join(f"{share:g}" for share in self.shares)
        chosen = "given" if len(self.shares) == 1 else "best top-1 of the other half of the images"
        return {"crop_px": reader.crop_px, "frame": frame, "frame_chosen": chosen, "shape": "square"}
