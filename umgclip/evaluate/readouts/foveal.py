"""Foveal attention (FALIP, Zhuang et al., ECCV 2024): the whole image, with the class token looking at the box.

A Gaussian over the box, scaled to (0, 0.2], is added to the class token's row of the attention logits in the last third
of the blocks; its deviation is half the box's side, and tokens outside the box get nothing. What comes before those
blocks is computed once an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.reader import Reader
from umgclip.evaluate.readouts.readout import RegionBatch

PEAK = 0.2


@dataclass(frozen=True)
class Foveal:
    """See the module's text."""

    peak: float = PEAK
    needs_masks: bool = False
    reads_image: bool = False
    variants: int = 1

    def __call__(self, reader: Reader, batch: RegionBatch) -> list[Float[Tensor, "r d"]]:
        """One embedding a region."""
        return [reader.foveal(batch.examples, batch.box_shares(), batch.rows(), self.peak)]

    def protocol(self, _: Reader) -> dict[str, Any]:
        """What is added, and where."""
        return {"peak": self.peak, "deviation": "half the box", "blocks": "last third"}
