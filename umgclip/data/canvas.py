"""The canvas that a model learns on, and the random changes that are made to every image on its way there."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import UInt8

from umgclip.errors import InputError
from umgclip.geometry.fit import Interpolation
from umgclip.model.clip.tower import DenseClip


def square_canvas(image_px: int | None, tower: DenseClip, field: str) -> tuple[int, int]:
    """Return the side of the canvas in pixels and in patches.

    Args:
        image_px: the requested side; None: the model's own.
        tower: the model.
        field: the parameter that asks, for messages.

    Raises:
        InputError: the side is no multiple of the model's patch, or the patch is no square.
    """
    (height, width), (patch, patch_w) = tower.image_hw, tower.patch_px
    side = image_px or height
    if patch != patch_w or (image_px is None and height != width):
        raise InputError(
            f"{field}: expected a model of square images and patches, got {height} x {width} px in patches of "
            f"{patch} x {patch_w}"
        )
    if side % patch:
        raise InputError(f"{field}: expected a multiple of the model's patch of {patch} px, got {side}")
    return side, side // patch


def random_window(width: int, height: int, least: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a part of an image, of its own aspect, as `x0, y0, x1, y1` in pixels; `least`: its least share of a side."""
    share = rng.uniform(least, 1.0)
    wide, high = max(1, round(width * share)), max(1, round(height * share))
    x0, y0 = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
    return x0, y0, x0 + wide, y0 + high


def resampled(
    pixels: UInt8[np.ndarray, "h w 3"], size_wh: tuple[int, int], interpolation: Interpolation = "bicubic"
) -> UInt8[np.ndarray, "height width 3"]:
    """Resize an image for training, in a sixth of the time of `umgclip.geometry.fit.resized`.

    torch's kernel has the filters of Pillow's and rounds their weights to other fractions: half a percent of the
    values differ, by one level of 255. It runs in the thread that calls it, without a team of others.
    """
    if (pixels.shape[1], pixels.shape[0]) == size_wh:
        return pixels
    writable = np.require(pixels, requirements=["C", "W"])  # torch warns of any other
    planes = torch.from_numpy(writable).permute(2, 0, 1)[None]
    small = F.interpolate(planes, (size_wh[1], size_wh[0]), mode=interpolation, antialias=True)
    return small[0].permute(1, 2, 0).numpy()


def relit(pixels: UInt8[np.ndarray, "h w 3"], most: float, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Change contrast by a random share of up to `most`, and brightness in step; 0 changes and draws nothing."""
    if not most:
        return pixels
    change = rng.uniform(-most, most, 2)
    return cv2.convertScaleAbs(pixels, alpha=1 + change[0], beta=80 * change[1])
