"""The foreground of an image: the pixels that do not look like its border, with sharp edges and without specks."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from umgclip.geometry.background import background_distance, smooth_lab

_SHARP_SIGMA = 0.4  # smoothing to locate edges, in pixels; the smoothing for the decision would move them
_EDGE_PX = 5  # side of the window within which an edge falls from full contrast to none


def foreground(pixels: UInt8[np.ndarray, "h w 3"], distance: float, smallest: float) -> Bool[np.ndarray, "h w"]:
    """Return the mask of the pixels that differ from the image's border.

    Smoothing and thin outlines make the foreground too large by a rim of about a pixel. An edge is where the contrast
    is half of that next to it, so the pixels of the rim with less contrast are given back to the background.

    Args:
        pixels: RGB.
        distance: the least difference, in standard deviations of the nearest border colour.
        smallest: share of the image; smaller pieces are no things, and smaller holes are no background.
    """
    least = smallest * pixels.shape[0] * pixels.shape[1]
    rough = _tidy(background_distance(smooth_lab(pixels)) > distance, least)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)
    contrast = background_distance(cv2.GaussianBlur(lab, (0, 0), _SHARP_SIGMA))
    inner = cv2.erode(rough.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(bool)
    is_edge_passed = contrast > 0.5 * cv2.dilate(contrast, np.ones((_EDGE_PX, _EDGE_PX), np.uint8))
    return _tidy(rough & (inner | is_edge_passed), least)


def _tidy(mask: Bool[np.ndarray, "h w"], least: float) -> Bool[np.ndarray, "h w"]:
    large = _pieces(mask, least)
    return ~_pieces(~large, least)


def _pieces(mask: Bool[np.ndarray, "h w"], least: float) -> Bool[np.ndarray, "h w"]:
    """Return the connected pieces of at least `least` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    is_large = stats[:, cv2.CC_STAT_AREA] >= least
    is_large[0] = False
    return is_large[labels]
