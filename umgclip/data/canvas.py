"""The canvas that a model learns on, and the random changes that are made to every image on its way there."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

from umgclip.errors import InputError
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


def relit(pixels: UInt8[np.ndarray, "h w 3"], most: float, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Change contrast by a random share of up to `most`, and brightness in step; 0 changes and draws nothing."""
    if not most:
        return pixels
    change = rng.uniform(-most, most, 2)
    return cv2.convertScaleAbs(pixels, alpha=1 + change[0], beta=80 * change[1])
