"""Square crops of regions, plain or with everything outside the region's mask replaced."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

Fill = Literal["none", "background", "mean"]
_MEAN_RGB = (122, 116, 104)  # the mean of the images that CLIP was trained on


def background_colour(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "3"]:
    """Return the median colour of the image's border, per channel."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.median(border, axis=0).astype(np.uint8)


def crop_region(
    pixels: UInt8[np.ndarray, "h w 3"],
    box_xyxy: tuple[float, float, float, float],
    mask: Bool[np.ndarray, "h w"] | None,
    out_px: int,
    object_share: float,
    fill: Fill | UInt8[np.ndarray, "3"] = "none",
) -> UInt8[np.ndarray, "out out 3"]:
    """Cut out a square around a box, resized to `out_px`.

    Args:
        pixels: the image, RGB.
        box_xyxy: the region in pixels.
        mask: the region's pixels; with a `fill` other than `none` all others are replaced.
        out_px: side of the result in pixels.
        object_share: the box's longer side as a share of the crop's side.
        fill: what stands outside the mask and outside the image: `none` keeps the image (its border colour outside
            of it), `background` is the median border colour, `mean` CLIP's mean colour; or any colour, RGB.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box_xyxy
    side = max(x1 - x0, y1 - y0, 1.0) / object_share
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    x_low, y_low = int(np.floor(left)), int(np.floor(top))
    size = max(int(round(side)), 1)
    colour = _fill_colour(pixels, fill)
    patch = np.empty((size, size, 3), np.uint8)
    patch[0] = colour
    patch[1:] = patch[0]  # whole rows are filled ten times as fast as single pixels
    sx0, sy0, sx1, sy1 = max(x_low, 0), max(y_low, 0), min(x_low + size, width), min(y_low + size, height)
    if sx1 > sx0 and sy1 > sy0:
        shown = patch[sy0 - y_low : sy1 - y_low, sx0 - x_low : sx1 - x_low]
        window = slice(sy0, sy1), slice(sx0, sx1)
        if mask is None or (isinstance(fill, str) and fill == "none"):
            shown[:] = pixels[window]
        else:
            cv2.copyTo(pixels[window], mask[window].view(np.uint8), shown)
    shrink = size > out_px
    return cv2.resize(patch, (out_px, out_px), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def _fill_colour(pixels: UInt8[np.ndarray, "h w 3"], fill: Fill | UInt8[np.ndarray, "3"]) -> UInt8[np.ndarray, "3"]:
    if not isinstance(fill, str):
        return fill
    return np.array(_MEAN_RGB, np.uint8) if fill == "mean" else background_colour(pixels)
