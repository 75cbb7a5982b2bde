"""Conversion of region shapes to masks: polygons in several notations, COCO's run lengths, and arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.literals import read_literal
from umgclip.records import Mask
from umgclip.safe_text import brief
from umgclip.sources.importing.frames import Extent, Frame
from umgclip.sources.values import number, whole


class ShapeError(InputError):
    """Error for a value that is not a shape; the message says what was expected and what came."""


def is_nothing(shape: Any) -> bool:  # noqa: ANN401 - what a file held
    """Return whether a source states that there are no pixels: null, or an empty list."""
    return shape is None or (isinstance(shape, list) and not shape)


def draw(shape: Any, frame: Frame, *, shares: bool) -> tuple[Mask, str | None]:  # noqa: ANN401 - what a file held
    """Draw a shape as a mask of its frame; return it with a message about a part that was left out.

    Args:
        shape: polygons, COCO run lengths or an array.
        frame: of the coordinates.
        shares: whether polygons are in shares of the image's sides.

    Raises:
        ShapeError: it is something else, or nothing of it can be drawn.
    """
    size_hw = (frame.height, frame.width)
    if isinstance(shape, list) and shape and all(isinstance(part, dict) and "counts" in part for part in shape):
        masks = [mask_ops.decode(_from_rle(part, size_hw)) for part in shape]
        return mask_ops.encode(np.logical_or.reduce(masks)), None
    if isinstance(shape, list):
        polygons, wrong = polygons_of(shape)
        sides = (frame.width, frame.height) if shares else (1, 1)
        polygons = [[n * sides[i % 2] for i, n in enumerate(polygon)] for polygon in polygons]
        if not polygons:
            raise ShapeError(f"expected polygons of three points or more, got {wrong}")
        mask = _drawn(lambda: mask_ops.from_polygons(polygons, size_hw))
        return mask, wrong and f"expected polygons of three points or more, left out {wrong}"
    if isinstance(shape, dict) and shape:
        return _from_rle(shape, size_hw), None
    if isinstance(shape, np.ndarray):
        if shape.shape != size_hw:
            raise ShapeError(f"expected a mask of {size_hw}, got {shape.shape}")
        return mask_ops.encode(shape), None
    raise ShapeError(f"expected polygons or a COCO RLE, got {brief(shape)}")


def polygons_of(shape: list[Any]) -> tuple[list[list[float]], str | None]:
    """Return the polygons of a list as `[x, y, x, y, ...]`, and a message about the first unusable part.

    A list holds alternating coordinates, points as pairs or as `{"x": .., "y": ..}`, or several of these.
    """
    parts = [shape] if _is_outline(shape) else shape
    polygons, wrong = [], None
    for part in parts:
        numbers = [number(n) if not isinstance(n, str) else None for n in _in_turn(part)]
        usable = [n for n in numbers if n is not None]
        if len(numbers) >= 6 and len(numbers) % 2 == 0 and len(usable) == len(numbers):
            polygons.append(usable)
        elif wrong is None:
            wrong = brief(part)
    return polygons, wrong if wrong is not None or polygons else brief(shape)


def _is_outline(shape: list[Any]) -> bool:
    """Return whether a list is one outline of coordinates or points, not a list of outlines."""
    return all(not isinstance(part, list | dict) for part in shape) or all(_is_point(part) for part in shape)


def _is_point(part: Any) -> bool:  # noqa: ANN401 - what a file held
    if isinstance(part, dict):
        return "x" in part and "y" in part
    return isinstance(part, list) and len(part) == 2 and not isinstance(part[0], list | dict)


def _in_turn(part: Any) -> list[Any]:  # noqa: ANN401 - what a file held
    """Return an outline's coordinates as one flat list."""
    if not isinstance(part, list):
        return []
    if part and all(_is_point(point) for point in part):
        return [n for point in part for n in ((point["x"], point["y"]) if isinstance(point, dict) else point)]
    return part


def _from_rle(shape: dict[str, Any], size_hw: tuple[int, int]) -> Mask:
    counts = shape.get("counts")
    if _size(shape) != size_hw:
        raise ShapeError(f"expected a mask of size {list(size_hw)}, got {brief(shape.get('size'))}")
    if isinstance(counts, list):
        runs = [whole(n) if not isinstance(n, str) else None for n in counts]
        return _drawn(lambda: mask_ops.from_counts(runs, size_hw))
    if not isinstance(counts, str):
        raise ShapeError(f"expected counts as text or numbers, got {brief(counts)}")
    text = _without_quotes(counts)
    # stored masks must be readable: the decoder checks the length
    return _drawn(lambda: mask_ops.encode(mask_ops.decode(Mask(size=size_hw, counts=text))))


def _size(shape: dict[str, Any]) -> tuple[int, ...]:
    size = shape.get("size")
    return tuple(side for side in map(whole, size) if side is not None) if isinstance(size, list | tuple) else ()


def _without_quotes(counts: str) -> str:
    r"""Strip Python's bytes notation from run lengths that somebody stored as text: `b'T6`0P1'`."""
    if counts[:2] not in ("b'", 'b"'):
        return counts
    try:
        value = read_literal(counts)
    except ValueError:
        return counts
    return value.decode("ascii", "replace") if isinstance(value, bytes) else counts


def _drawn(make: Callable[[], Mask]) -> Mask:
    try:
        return make()
    except ShapeError:
        raise
    except InputError as error:
        raise ShapeError(str(error)) from error


def moved(mask: Mask, frame: Frame, size_wh: tuple[int, int]) -> Mask:
    """Convert a mask of a frame to the stored image."""
    if not frame.moved:
        return mask
    pixels = mask_ops.decode(mask)
    turns = {5: pixels.T, 6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).T, 8: np.rot90(pixels)}
    upright = turns.get(frame.turn, pixels)
    if frame.scale != (1.0, 1.0):
        upright = cv2.resize(upright.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST) > 0
    return mask_ops.encode(upright)


def measure(shape: Any, extent: Extent) -> None:  # noqa: ANN401 - what a file held
    """Extend an extent by a shape in pixels."""
    if isinstance(shape, np.ndarray):
        extent.sizes |= {(shape.shape[1], shape.shape[0])}
    elif isinstance(shape, dict) and len(size := _size(shape)) == 2:
        extent.sizes |= {(size[1], size[0])}
    elif isinstance(shape, list) and shape and not isinstance(shape[0], dict):
        for polygon in polygons_of(shape)[0]:
            extent.reach(max(polygon[::2]), max(polygon[1::2]))
