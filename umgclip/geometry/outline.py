"""Masks as SVG paths that a browser fills: small for images of any size."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool

_TOLERANCE, _MOST_POINTS = 0.6, 2000


def svg_path(mask: Bool[np.ndarray, "h w"], grid_wh: tuple[int, int]) -> str:
    """Return a mask's outline as an SVG path, stretched to a grid, fill rule `evenodd`; empty for an empty mask.

    Args:
        mask: pixels of the image.
        grid_wh: width and height of the grid; points have whole coordinates in it, off by one at most where the
            outline has no more than some thousand corners.
    """
    how = cv2.INTER_AREA if grid_wh[0] * grid_wh[1] < mask.size else cv2.INTER_LINEAR
    filled = cv2.resize(mask.astype(np.uint8) * 255, grid_wh, interpolation=how) >= 128
    if not filled.any():  # thinner than a cell; fractions, where whole numbers would round to none
        filled = cv2.resize(mask.astype(np.float32), grid_wh, interpolation=how) > 0
    contours, _ = cv2.findContours(filled.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    tolerance = _TOLERANCE
    simple = [cv2.approxPolyDP(contour, tolerance, closed=True) for contour in contours]
    while sum(len(contour) for contour in simple) > _MOST_POINTS and tolerance < max(grid_wh):
        tolerance *= 2
        simple = [cv2.approxPolyDP(contour, tolerance, closed=True) for contour in contours]
        simple = [contour for contour in simple if len(contour) > 2] or simple[:1]
    return "".join(_closed(contour.reshape(-1, 2)) for contour in simple)


def _closed(points: np.ndarray) -> str:
    return "M" + "L".join(f"{int(x)} {int(y)}" for x, y in points) + "Z"
