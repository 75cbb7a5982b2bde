"""Images of any size onto a model's canvas: squeezed to it, or in proportion with padding right and below."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

Resize = Literal["squash", "pad"]
Interpolation = Literal["bicubic", "bilinear"]
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def covered_cells(
    size_wh: tuple[int, int], grid_hw: tuple[int, int], cell_hw_px: tuple[int, int], resize: Resize
) -> tuple[int, int]:
    """Return the rows and columns of the canvas's grid that an image will cover, at least one of each.

    In proportion, each side is rounded to whole cells, so that every cell holds image or none.

    Args:
        size_wh: the image, in pixels.
        grid_hw: rows and columns of the canvas.
        cell_hw_px: height and width of a cell in pixels.
        resize: `squash` covers the whole canvas.

    Example:
        >>> covered_cells((640, 320), grid_hw=(8, 8), cell_hw_px=(12, 12), resize="pad")  # half as high as wide
        (4, 8)
    """
    if resize == "squash":
        return grid_hw
    (width, height), (rows, columns), (cell_h, cell_w) = size_wh, grid_hw, cell_hw_px
    scale = min(rows * cell_h / height, columns * cell_w / width)
    return (
        min(rows, max(1, round(height * scale / cell_h))),
        min(columns, max(1, round(width * scale / cell_w))),
    )


def resized(
    pixels: UInt8[np.ndarray, "h w 3"], size_wh: tuple[int, int], interpolation: Interpolation = "bicubic"
) -> UInt8[np.ndarray, "height width 3"]:
    """Resize an image by Pillow's antialiased filters, bit by bit as open_clip's transforms do."""
    if (pixels.shape[1], pixels.shape[0]) == size_wh:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size_wh, _FILTERS[interpolation]))


def on_canvas(pixels: UInt8[np.ndarray, "h w 3"], size_wh: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """Put an image at the top left of a black canvas."""
    if (pixels.shape[1], pixels.shape[0]) == size_wh:
        return pixels
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
    return canvas
