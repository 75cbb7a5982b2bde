"""Objects pasted from one training image into another, where they have a known name and a known box.

Copies of objects make training data for detectors (Dwibedi et al., ICCV 2017; Ghiasi et al., CVPR 2021); here they
examine the annotator. An object is pasted on a ground like its own, as it would be no more visible there than here.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from umgclip.geometry import masks as mask_ops

_SCALES = (0.8, 1.2)
_LEAST_PX = 4
_RIM = 0.04  # width of the border that stands for the ground, as a share of the image's shorter side


@dataclass(frozen=True, eq=False)
class Composite:
    """An image with a pasted object, and the object's pixels in it."""

    pixels: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]


def ground_of(pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "6"]:
    """Describe the ground of an image by the mean and the deviation of its border's colours, in Lab."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)
    rim = max(1, round(_RIM * min(pixels.shape[:2])))
    border = np.concatenate([part.reshape(-1, 3) for part in (lab[:rim], lab[-rim:], lab[:, :rim], lab[:, -rim:])])
    return np.concatenate([border.mean(0), border.std(0)])


def paste(
    pixels: UInt8[np.ndarray, "h w 3"],
    donor: UInt8[np.ndarray, "h2 w2 3"],
    mask: Bool[np.ndarray, "h2 w2"],
    rng: np.random.Generator,
    match: float = 0.0,
) -> Composite:
    """Paste the masked pixels of one image into another, at a random place and scale, mirrored or not.

    Args:
        pixels: the image that the object is pasted into.
        donor: the image that the object is from.
        mask: the object's pixels, at least one.
        rng: decides place, scale and mirroring.
        match: share of the way that the object's mean colour moves to that of the pixels which it covers.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = (int(v) for v in mask_ops.box_of(mask))
    scale = min(rng.uniform(*_SCALES), height / (y1 - y0), width / (x1 - x0))
    size = max(min(width, round((x1 - x0) * scale)), _LEAST_PX), max(min(height, round((y1 - y0) * scale)), _LEAST_PX)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    colour = cv2.resize(donor[y0:y1, x0:x1], size, interpolation=how)
    alpha = cv2.resize(mask[y0:y1, x0:x1].astype(np.float32), size, interpolation=how)
    if rng.random() < 0.5:
        colour, alpha = colour[:, ::-1], alpha[:, ::-1]
    top, left = int(rng.integers(height - size[1] + 1)), int(rng.integers(width - size[0] + 1))
    window = slice(top, top + size[1]), slice(left, left + size[0])
    mixed, pasted = pixels.astype(np.float32), np.zeros((height, width), bool)
    pasted[window] = alpha > 0.5
    if match and pasted.any():
        step = mixed[pasted].mean(0) - colour[pasted[window]].mean(0)
        colour = np.clip(colour + match * step, 0, 255)
    mixed[window] += alpha[..., None] * (colour - mixed[window])
    return Composite(np.clip(mixed + 0.5, 0, 255).astype(np.uint8), pasted)
