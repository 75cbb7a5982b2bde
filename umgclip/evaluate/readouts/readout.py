"""What a read-out is: regions of a batch of images to one embedding each."""

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
    """Regions of a batch of images, and what the model made of the whole images.

    Attributes:
        examples: the images.
        regions: row of its image, and the region; at least one.
        seen: global embeddings and dense maps by the value path.
    """

    examples: Sequence[Example]
    regions: Sequence[tuple[int, TrueRegion]]
    seen: Seen

    def rows(self) -> Tensor:
        """The image of each region."""
        return torch.tensor([row for row, _ in self.regions])

    def box_shares(self) -> Float[Tensor, "r xyxy"]:
        """Boxes as shares of their images' sides."""
        shares = [_box_share(region, self.examples[row]) for row, region in self.regions]
        return torch.tensor(np.array(shares, dtype=np.float32))

    def masked(self) -> RegionBatch:
        """The regions whose mask is known."""
        return RegionBatch(self.examples, [pair for pair in self.regions if pair[1].mask is not None], self.seen)


@runtime_checkable
class Readout(Protocol):
    """A way to read regions."""

    @property
    def needs_masks(self) -> bool:
        """Whether it reads the regions whose mask is known only."""

    @property
    def reads_image(self) -> bool:
        """Whether it builds on the forward of the whole images, whose cost is part of its own then."""

    @property
    def variants(self) -> int:
        """How many embeddings a region gets; of several, the best one on the other half of the images counts."""

    def __call__(self, reader: Reader, batch: RegionBatch) -> list[Float[Tensor, "r d"]]:
        """One L2-normalised embedding a region, of each variant."""

    def protocol(self, reader: Reader) -> dict[str, Any]:
        """What decides its numbers."""


def mask_of(region: TrueRegion) -> Bool[np.ndarray, "h w"]:
    """The mask of a region that has one."""
    assert region.mask is not None  # noqa: S101 - for the type checker: only such regions come here
    return region.mask


def _box_share(region: TrueRegion, example: Example) -> Float[np.ndarray, " xyxy"]:
    height, width = example.pixels.shape[:2]
    return np.array(region.box_xyxy) / np.array([width, height, width, height])
