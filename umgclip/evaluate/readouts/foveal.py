"""Foveal attention (FALIP, Zhuang et al., ECCV 2024): the whole image, with the class token attending to the box.

A Gaussian over the box, scaled to (0, 0.2], is added to the class token's row of the attention logits in the last third
of the blocks; tokens outside the box get nothing. Its deviation is half the box's side (`foveal`), or 100 tokens with
the least value in the box scaled to 0, as in FALIP's code (`falip`), where the last third are blocks 8 to 11 of 12.
Earlier blocks are computed once per image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.reader import Reader
from umgclip.evaluate.readouts.readout import RegionBatch
from umgclip.model.clip.vision.peers import Profile

PEAK = 0.2


@dataclass(frozen=True)
class Foveal:
    """Global embeddings of whole images whose class token attends to a box each."""

    peak: float = PEAK
    profile: Profile = "box"
    needs_masks: bool = False
    reads_image: bool = False
    variants: int = 1

    def __call__(self, reader: Reader, batch: RegionBatch) -> list[Float[Tensor, "r d"]]:
        """Embed the regions with one foveal pass each."""
        return [reader.foveal(batch.examples, batch.box_shares(), batch.rows(), self.peak, self.profile)]

    def protocol(self, _: Reader) -> dict[str, Any]:
        """Return the peak, the deviation and the blocks of the Gaussian."""
        deviation = {"box": "half the box", "falip": "100 tokens, least to highest in the box"}[self.profile]
        return {"peak": self.peak, "deviation": deviation, "blocks": "last third"}
