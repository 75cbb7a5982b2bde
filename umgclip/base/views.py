"""Random views of training images for the base."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from umgclip.geometry.background import main_object
from umgclip.geometry.crops import background_colour
from umgclip.geometry.masks import box_of

_MIN_OBJECT = 0.02  # share of the image below which what was cut out is not trusted


def whole(
    pixels: UInt8[np.ndarray, "h w 3"], image_px: int, rng: np.random.Generator, *, mirror: bool = True
) -> np.ndarray:
    """Resize an image, slightly turned, moved, scaled and relit, mirrored half of the time if it may be."""
    height, width = pixels.shape[:2]
    angle, zoom = rng.uniform(-6, 6), np.exp(rng.uniform(-0.12, 0.12))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
    matrix[:, 2] += rng.uniform(-0.06, 0.06, 2) * (width, height)
    return _relit(_warp(pixels, matrix, image_px, cv2.BORDER_REFLECT_101, None), rng, mirror)


@dataclass(frozen=True)
class Subject:
    """The main object in front of an image's border: its mask, its box, and the border's colour."""

    mask: Bool[np.ndarray, "h w"]
    box_xyxy: tuple[float, float, float, float]
    colour: UInt8[np.ndarray, "3"]


def subject(pixels: UInt8[np.ndarray, "h w 3"]) -> Subject | None:
    """Find the subject; None where nothing stands out."""
    mask = main_object(pixels)
    return Subject(mask, box_of(mask), background_colour(pixels)) if mask.mean() >= _MIN_OBJECT else None


def cut_out(
    pixels: UInt8[np.ndarray, "h w 3"],
    foreground: Subject,
    image_px: int,
    rng: np.random.Generator,
    *,
    mirror: bool = True,
) -> np.ndarray:
    """Show the subject, large, on the border's colour; mirrored half of the time if it may be.

    A short alt text speaks of the object, rarely of its ground; without the ground a small model needs far fewer
    images to learn the word.
    """
    x0, y0, x1, y1 = foreground.box_xyxy
    side = max(x1 - x0, y1 - y0) / rng.uniform(0.52, 0.72)
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-8, 8), max(pixels.shape[:2]) / side)
    room = np.array([pixels.shape[1], pixels.shape[0]])
    matrix[:, 2] += room / 2 - centre + rng.uniform(-0.03, 0.03, 2) * room
    flat = np.where(foreground.mask[..., None], pixels, foreground.colour)
    ground = tuple(int(c) for c in foreground.colour)
    return _relit(_warp(flat, matrix, image_px, cv2.BORDER_CONSTANT, ground), rng, mirror)


def _warp(
    pixels: np.ndarray, matrix: np.ndarray, image_px: int, border: int, colour: tuple[int, ...] | None
) -> np.ndarray:
    height, width = pixels.shape[:2]
    scaled = np.diag([image_px / width, image_px / height]) @ matrix
    if abs(np.linalg.det(scaled[:, :2])) < 0.5:
        pixels = cv2.blur(pixels, (2, 2))  # a warp that shrinks would alias
    return cv2.warpAffine(
        pixels, scaled, (image_px, image_px), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=colour or 0
    )


def _relit(pixels: np.ndarray, rng: np.random.Generator, mirror: bool) -> np.ndarray:
    pixels = cv2.convertScaleAbs(pixels, alpha=rng.uniform(0.85, 1.15), beta=rng.uniform(-12, 12))
    return pixels[:, ::-1] if rng.random() < 0.5 and mirror else pixels
