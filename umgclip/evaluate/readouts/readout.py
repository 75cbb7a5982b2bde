"""The interface of a read-out, which turns regions of a batch of images into one embedding each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from umgclip.evaluate.examples import Example, TrueRegion
from umgclip.evaluate.reader import Reader, Seen


@dataclass(frozen=True)
class RegionBatch:
    """Regions of a batch of images, with the model's embeddings of the whole images.

    Attributes:
        examples: the images.
        regions: for each region the row of its image and the region; at least one.
        seen: global embeddings and dense maps by the value path.
    """

    examples: Sequence[Example]
    regions: Sequence[tuple[int, TrueRegion]]
    seen: Seen

    def rows(self) -> Tensor:
        """Return the row of each region's image."""
        return torch.tensor([row for row, _ in self.regions])

    def box_shares(self) -> Float[Tensor, "r xyxy"]:
        """Return the boxes as shares of their images' sides, 0 to 1."""
        shares = [_box_share(region, self.examples[row]) for row, region in self.regions]
        return torch.tensor(np.array(shares, dtype=np.float32))

    def masked(self) -> RegionBatch:
        """Return a batch of the regions whose mask is known."""
        return RegionBatch(self.examples, [pair for pair in self.regions if pair[1].mask is not None], self.seen)


@runtime_checkable
class Readout(Protocol):
    """A way to embed regions of images."""

    @property
    def needs_masks(self) -> bool:
        """True if it reads only regions whose mask is known."""

    @property
    def reads_image(self) -> bool:
        """True if it builds on the forward pass of the whole images, whose cost then counts for it."""

    @property
    def variants(self) -> int:
        """The number of embeddings per region; of several, the best one on the other half of the images counts."""

    def __call__(self, reader: Reader, batch: RegionBatch) -> list[Float[Tensor, "r d"]]:
        """Embed the regions: one L2-normalised row per region, for each variant."""

    def protocol(self, reader: Reader) -> dict[str, Any]:
        """Return the settings that decide its numbers."""


def mask_of(region: TrueRegion) -> Bool[np.ndarray, "h w"]:
    """Return the mask of a region that has one."""
    assert region.mask is not None  # noqa: S101 - for the type checker: callers pass only such regions
    return region.mask


def _box_share(region: TrueRegion, example: Example) -> Float[np.ndarray, " xyxy"]:
    height, width = example.pixels.shape[:2]
    return np.array(region.box_xyxy) / np.array([width, height, width, height])
