"""A cheap background model: pixels that look like the image's border."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

_BORDER_PX = 3
_MIN_CLUSTER = 0.12  # share of the border that makes a colour a background colour
_MIN_SPREAD = np.array([4.0, 2.0, 2.0], np.float32)  # of L, a and b, so that a flat border is not too strict


def smooth_lab(pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """Convert RGB to OpenCV's 8-bit Lab as float, lightly smoothed against texture."""
    return cv2.GaussianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32), (0, 0), 0.7)


def background_distance(lab: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """Return each pixel's distance to the nearest frequent border colour, in that colour's standard deviations."""
    edge = _BORDER_PX
    parts = (lab[:edge], lab[-edge:], lab[:, :edge], lab[:, -edge:])
    border = np.concatenate([part.reshape(-1, 3) for part in parts])
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    _, labels, centres = cv2.kmeans(border, 3, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    planes = [np.ascontiguousarray(lab[:, :, channel]) for channel in range(lab.shape[2])]  # quicker one by one
    nearest = np.full(lab.shape[:2], np.inf, np.float32)
    for index, centre in enumerate(centres):
        members = border[labels[:, 0] == index]
        if len(members) >= _MIN_CLUSTER * len(border):
            spread = np.maximum(members.std(0), _MIN_SPREAD)
            squares = [((plane - c) / s) ** 2 for plane, c, s in zip(planes, centre, spread, strict=True)]
            nearest = np.minimum(nearest, squares[0] + squares[1] + squares[2])
    return np.sqrt(nearest)


def main_object(pixels: UInt8[np.ndarray, "h w 3"], distance: float = 3.0) -> Bool[np.ndarray, "h w"]:
    """Return the largest connected piece unlike the border, holes filled; an empty mask if there is none."""
    different = (background_distance(smooth_lab(pixels)) > distance).astype(np.uint8)
    closed = cv2.morphologyEx(different, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    mask = np.zeros(different.shape, np.uint8)
    if count > 1:
        piece = (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
        outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(mask, outlines, -1, 1, cv2.FILLED)
    return mask.astype(bool)
