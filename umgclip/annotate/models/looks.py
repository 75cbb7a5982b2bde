"""The square crops that the teacher reads regions from, all of one side or of the side that each region needs."""

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

_SHARES = (0.5, 0.75)  # of the model's image side, for `auto`; the cost of a crop grows with its square
_LEAST_CELLS = 49  # cells in the dense map of a crop; fewer are too coarse to tell things apart
_TOKENS = 8192  # in one forward pass on a CPU; more are no faster and need more memory


def crop_sides(
    crop_px: int | Literal["auto"] | None, image_hw: tuple[int, int], patch_px: tuple[int, int]
) -> tuple[int, ...]:
    """Return the sides in pixels that crops may have, ascending.

    Args:
        crop_px: `annotate.label.crop_px`. `auto`: half or three quarters of the model's image side, if that gives at
            least 49 cells; None: the model's image side.
        image_hw: the model's image size in pixels.
        patch_px: height and width of the model's patch in pixels.

    Raises:
        InputError: the side is not a multiple of the patch.
    """
    full, step = max(image_hw), math.lcm(*patch_px)
    if crop_px == "auto":
        sides = {math.ceil(share * full / step) * step for share in _SHARES}
        return tuple(sorted(side for side in sides if (side // step) ** 2 >= _LEAST_CELLS)) or (full,)
    side = image_hw[0] if crop_px is None else crop_px
    if any(side % patch for patch in patch_px):
        raise InputError(f"annotate.label.crop_px: expected a multiple of the model's patch {patch_px}, got {side}")
    return (side,)


def crops(
    pixels: Pixels, proposals: Sequence[Proposal], params: LabelParams, sides: Sequence[int]
) -> list[UInt8[np.ndarray, "side side 3"]]:
    """Return a crop of each region.

    Its side is the smallest that loses none of the region's pixels, or the largest if each would.
    """
    colour = background_colour(pixels)
    fill = colour if params.fill == "background" else params.fill
    height, width = pixels.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    crop_list = []
    for proposal in proposals:
        # a background is shown as the whole image, with the things painted over in the background colour
        box = whole if proposal.is_stuff else proposal.box_xyxy
        share, around = (1.0, colour) if proposal.is_stuff else (params.object_share, fill)
        needed = max(box[2] - box[0], box[3] - box[1]) / share
        side = next((side for side in sides if side >= needed), sides[-1])
        crop_list.append(crop_region(pixels, box, proposal.mask, side, share, around))
    return crop_list


def in_batches(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], most: int, patch_px: tuple[int, int], on_cpu: bool
) -> list[list[int]]:
    """Return groups of rows to embed together: images of one size, at most `most`; on a CPU fewer if large."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for row, pixels in enumerate(images):
        by_size.setdefault(pixels.shape, []).append(row)
    batches: list[list[int]] = []
    for (height, width, _), rows in by_size.items():
        tokens = (height // patch_px[0]) * (width // patch_px[1]) + 1
        size = min(most, max(1, _TOKENS // tokens)) if on_cpu else most
        batches.extend(rows[start : start + size] for start in range(0, len(rows), size))
    return batches
