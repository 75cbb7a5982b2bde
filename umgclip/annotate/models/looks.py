"""How the teacher looks at regions: square crops, of one side or of the side that each region is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from umgclip.annotate.proposal import Pixels
from umgclip.annotate.roles import Proposal
from umgclip.errors import InputError
from umgclip.geometry.crops import background_colour, crop_region
from umgclip.params import LabelParams

_SHARES = (0.5, 0.75)  # of the model's own side, for `auto`; a crop's cost grows with its square
_LEAST_CELLS = 49  # of a crop's dense map: with fewer there is little to tell things by
_TOKENS = 8192  # in a forward on a CPU: more are not faster and need memory


def crop_sides(
    crop_px: int | Literal["auto"] | None, image_hw: tuple[int, int], patch_px: tuple[int, int]
) -> tuple[int, ...]:
    """Sides in pixels that crops may have, ascending.

    Args:
        crop_px: `annotate.label.crop_px`. `auto`: half or three quarters of the model's own side, where those are at
            least 49 cells; None: its own.
        image_hw: the model's own size in pixels.
        patch_px: of the model.

    Raises:
        InputError: the side is no multiple of the patch.
    """
    own, step = max(image_hw), math.lcm(*patch_px)
    if crop_px == "auto":
        found = {math.ceil(share * own / step) * step for share in _SHARES}
        return tuple(sorted(side for side in found if (side // step) ** 2 >= _LEAST_CELLS)) or (own,)
    side = image_hw[0] if crop_px is None else crop_px
    if any(side % patch for patch in patch_px):
        raise InputError(f"annotate.label.crop_px: expected a multiple of the model's patch {patch_px}, got {side}")
    return (side,)


def crops(
    pixels: Pixels, proposals: Sequence[Proposal], params: LabelParams, sides: Sequence[int]
) -> list[UInt8[np.ndarray, "side side 3"]]:
    """A crop of each region, of the smallest side that loses none of the region's pixels, or of the largest."""
    colour = background_colour(pixels)
    fill = colour if params.fill == "background" else params.fill
    height, width = pixels.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    found = []
    for proposal in proposals:
        # of the ground the whole image is seen, with the things painted over in the ground's own colour
        box = whole if proposal.is_stuff else proposal.box_xyxy
        share, around = (1.0, colour) if proposal.is_stuff else (params.object_share, fill)
        there = max(box[2] - box[0], box[3] - box[1]) / share
        side = next((side for side in sides if side >= there), sides[-1])
        found.append(crop_region(pixels, box, proposal.mask, side, share, around))
    return found


def in_batches(
    images: Sequence[UInt8[np.ndarray, "height width 3"]], most: int, patch_px: tuple[int, int], on_cpu: bool
) -> list[list[int]]:
    """Rows of images that are embedded together: of one size, at most `most`, on a CPU no more than fit its caches."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for row, pixels in enumerate(images):
        by_size.setdefault(pixels.shape, []).append(row)
    batches: list[list[int]] = []
    for (height, width, _), rows in by_size.items():
        tokens = (height // patch_px[0]) * (width // patch_px[1]) + 1
        size = min(most, max(1, _TOKENS // tokens)) if on_cpu else most
        batches.extend(rows[start : start + size] for start in range(0, len(rows), size))
    return batches
