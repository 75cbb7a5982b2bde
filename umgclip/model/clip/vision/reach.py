"""The reach of dense tokens in the last block: they look at themselves only, or at their neighbours as well."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

REACH = "dense_reach"
"""The key of the reach in files beside weights."""
FARTHEST = 64
"""The largest reach, in cells."""


def reach_of(visual: Any) -> int:  # noqa: ANN401 - open_clip's towers share no base class
    """Return how many cells around itself a token looks at in the last block; 0 is MaskCLIP's value path."""
    return int(getattr(visual, "umgclip_dense_reach", 0))


def set_reach(clip: Any, reach: int) -> None:  # noqa: ANN401 - open_clip's models share no base class
    """Write down on a model how far its dense tokens look.

    With a reach of 1 each token attends to the 3 x 3 cells around it, by its own queries and keys. A neighbourhood
    helps segmentation without any training (NACLIP, Hajimiri et al., WACV 2025); here the model learns with it. It has
    no effect on towers whose dense map is no value path of the last block: those with an attention pool, ConvNeXt.
    """
    clip.visual.umgclip_dense_reach = reach


def neighbours(height: int, width: int, reach: int, device: torch.device) -> Bool[Tensor, "n n"]:
    """Return which cells of a grid, row by row, lie within reach of each other along both sides."""
    row = torch.arange(height, device=device).repeat_interleave(width)
    column = torch.arange(width, device=device).repeat(height)
    far = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    return far <= reach
