"""Shapes that people draw in Label Studio: rectangles, polygons, ellipses and brush strokes, in percent."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from umgclip.data.wording import tidy
from umgclip.geometry import masks as mask_ops
from umgclip.records import ImageRecord
from umgclip.review.answer import AnsweredRegion
from umgclip.review.tools.brush import decode_brush


class OtherImageError(ValueError):
    """The result belongs to an image of another size."""


class ErasedError(ValueError):
    """A brush stroke without a pixel is left of a region."""


def check_size(part: dict[str, Any], record: ImageRecord) -> None:
    """Check that a result belongs to an image of this size that was not turned in the tool.

    Raises:
        OtherImageError: it belongs to an image of another size.
        ValueError: the image was turned.
    """
    size = part.get("original_width"), part.get("original_height")
    if None not in size and size != (record.width, record.height):
        expected = f"{record.width} x {record.height}"
        raise OtherImageError(f"expected an image of {expected} pixels, got {size[0]} x {size[1]}")
    if part.get("image_rotation"):
        raise ValueError(f"image_rotation: expected 0, got {part['image_rotation']}; turned images are not read")


def _label(kind: str, value: dict[str, Any]) -> str | None:
    names = value.get(kind) or value.get("labels") or []
    clean = [tidy(str(name)) for name in names]
    return next((name for name in clean if name), None)


def _rectangle(kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    x, y, width, height = (_finite(value[name]) for name in ("x", "y", "width", "height"))
    x, width = x * record.width / 100, width * record.width / 100
    y, height = y * record.height / 100, height * record.height / 100
    angle = math.radians(_finite(value.get("rotation") or 0))
    if not angle:
        return AnsweredRegion((x, y, x + width, y + height), _label(kind, value))
    cos, sin = math.cos(angle), math.sin(angle)  # about the upper left corner, clockwise
    corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    outline = [side for dx, dy in corners for side in (x + dx * cos - dy * sin, y + dx * sin + dy * cos)]
    return _outlined(outline, kind, value, record)


def _polygon(kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    outline = []
    for x, y in value["points"]:
        outline += [_finite(x) * record.width / 100, _finite(y) * record.height / 100]
    return _outlined(outline, kind, value, record)


def _outlined(outline: list[float], kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    mask = mask_ops.from_polygons([outline], (record.height, record.width))
    box = mask_ops.tight_box(mask)
    if box is None:
        raise ValueError("expected an outline inside the image, got one without a pixel there")
    return AnsweredRegion(box, _label(kind, value), mask)


def _ellipse(kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    x, y = _finite(value["x"]) * record.width / 100, _finite(value["y"]) * record.height / 100
    radii = _finite(value["radiusX"]) * record.width / 100, _finite(value["radiusY"]) * record.height / 100
    canvas = np.zeros((record.height, record.width), np.uint8)
    angle = _finite(value.get("rotation") or 0)
    cv2.ellipse(canvas, ((x - 0.5, y - 0.5), (2 * radii[0], 2 * radii[1]), angle), 1, thickness=-1)
    mask = mask_ops.encode(canvas > 0)
    box = mask_ops.tight_box(mask)
    if box is None:
        raise ValueError("expected an ellipse inside the image, got one without a pixel there")
    return AnsweredRegion(box, _label(kind, value), mask)


def _brush(kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    if value.get("format") != "rle":
        raise ValueError(f"format: expected rle, got {value.get('format')!r}")
    mask = mask_ops.encode(decode_brush(value["rle"], (record.height, record.width)))
    box = mask_ops.tight_box(mask)
    if box is None:
        raise ErasedError
    return AnsweredRegion(box, _label(kind, value), mask)


def _finite(number: object) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError(f"expected a number, got {str(number)[:40]!r}")
    return float(number)


SHAPES = {
    "rectanglelabels": _rectangle, "rectangle": _rectangle,
    "polygonlabels": _polygon, "polygon": _polygon,
    "ellipselabels": _ellipse, "ellipse": _ellipse,
    "brushlabels": _brush, "brush": _brush,
}  # fmt: skip
