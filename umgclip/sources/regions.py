"""A source's regions as the records have them: boxes and masks in the pixels of the stored, upright image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool

from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.images import PreparedImage
from umgclip.plain import brief
from umgclip.records import Mask, Region
from umgclip.sources.found import Problem, RawRegion
from umgclip.sources.values import expected, number, share

_SAME_ASPECT = 0.02  # how much the two scales of a resized image may differ
_DIGITS = 3  # of a pixel
Box = tuple[float, float, float, float]


class MisplacedError(InputError):
    """A region that cannot be placed, with a reason of one word."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Frame:
    """The picture that a source's coordinates belong to: its size, and how to come from there to the stored image.

    `turn` is an EXIF orientation (5 to 8) where the source measured the image as it lies, not as it is shown.
    """

    width: int
    height: int
    turn: int
    scale: tuple[float, float]

    @property
    def moved(self) -> bool:
        """Whether coordinates have to be changed at all."""
        return self.turn != 1 or self.scale != (1.0, 1.0)


def frame_of(image: PreparedImage, size_wh: tuple[int, int] | None) -> Frame:
    """What a source measured, by the size that it gives.

    A size that is the file's own and not that of the image as shown means coordinates in the file as it lies; any
    other size of the same aspect means an image that was resized later.

    Raises:
        MisplacedError: the aspect is another one.
    """
    upright = (image.width, image.height)
    if size_wh is None or size_wh == upright:
        return Frame(*upright, 1, (1.0, 1.0))
    if image.orientation >= 5 and size_wh == image.raw_wh:
        return Frame(*image.raw_wh, image.orientation, (1.0, 1.0))
    scale = (upright[0] / size_wh[0], upright[1] / size_wh[1])
    # small images round their sides by up to a pixel
    slack = _SAME_ASPECT + 1 / min(*upright, *size_wh)
    if abs(scale[0] / scale[1] - 1) > slack:
        detail = f"expected an image of {size_wh[0]} x {size_wh[1]} or its aspect, got {upright[0]} x {upright[1]}"
        raise MisplacedError("size_mismatch", detail)
    return Frame(*size_wh, 1, scale)


def place_regions(
    raws: Sequence[RawRegion], image: PreparedImage, size_wh: tuple[int, int] | None
) -> tuple[list[Region], list[Problem]]:
    """Regions of the stored image, and what could not be placed.

    Args:
        raws: the source's.
        image: the stored image.
        size_wh: the size in pixels that the source gives of the image, if any.
    """
    try:
        frame = frame_of(image, size_wh)
    except MisplacedError as error:
        return [], [Problem(error.reason, str(error), raw.id) for raw in raws]
    placed, problems = [], []
    for raw in raws:
        try:
            placed.append(_place(raw, frame, image))
            if share(raw.score) is None:  # as good as none
                problems.append(Problem("bad_score", expected("score", "a number", raw.score), raw.id))
        except MisplacedError as error:
            problems.append(Problem(error.reason, str(error), raw.id))
    return placed, problems


def _place(raw: RawRegion, frame: Frame, image: PreparedImage) -> Region:
    mask = _mask(raw, frame, image)
    tight = mask_ops.tight_box(mask) if mask is not None else None
    if mask is not None and tight is None:
        raise MisplacedError("empty_mask", "expected a mask with pixels, got an empty one")
    box = _box(raw, frame) if raw.box is not None else tight
    if box is None:
        raise MisplacedError("no_box", "expected a box or a mask, got neither")
    sure = share(raw.score)
    return Region(
        id=raw.id,
        box_xyxy=_clipped(box, image),
        mask=mask,
        is_stuff=raw.is_stuff,
        is_crowd=raw.is_crowd,
        score=1.0 if sure is None else sure,
        captions=raw.captions,
        tags=raw.tags,
        negatives=raw.negatives or None,
    )


def _box(raw: RawRegion, frame: Frame) -> Box:
    numbers = _numbers(raw.box, 4)
    if raw.shares:
        numbers = [n * side for n, side in zip(numbers, (frame.width, frame.height) * 2, strict=True)]
    x0, y0, x1, y1 = numbers
    if raw.form == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    if not (x0 < x1 and y0 < y1):
        raise MisplacedError("bad_box", f"expected x0 < x1 and y0 < y1, got {[x0, y0, x1, y1]}")
    (x0, y0), (x1, y1) = _turned(x0, y0, frame), _turned(x1, y1, frame)
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
    return x0 * frame.scale[0], y0 * frame.scale[1], x1 * frame.scale[0], y1 * frame.scale[1]


def _turned(x: float, y: float, frame: Frame) -> tuple[float, float]:
    """A point of the file as it lies, in the image as it is shown."""
    if frame.turn == 1:
        return x, y
    right = frame.height - y if frame.turn in (6, 7) else y
    down = frame.width - x if frame.turn in (7, 8) else x
    return right, down


def _clipped(box: Box, image: PreparedImage) -> Box:
    sides = (image.width, image.height) * 2
    x0, y0, x1, y1 = (round(min(max(n, 0.0), float(side)), _DIGITS) for n, side in zip(box, sides, strict=True))
    if not (x0 < x1 and y0 < y1):
        where = [round(n, _DIGITS) for n in box]
        raise MisplacedError("box_outside", f"expected a box inside {image.width} x {image.height}, got {where}")
    return x0, y0, x1, y1


def _mask(raw: RawRegion, frame: Frame, image: PreparedImage) -> Mask | None:
    shape = raw.shape
    if shape is None or (isinstance(shape, list) and not shape):
        return None
    if isinstance(shape, list):
        mask = _from_polygons(shape, raw.shares, frame)
    elif isinstance(shape, dict):
        mask = _from_rle(shape, frame)
    elif isinstance(shape, np.ndarray):
        mask = mask_ops.encode(_checked(shape, frame))
    else:
        raise MisplacedError("bad_mask", f"expected polygons or a COCO RLE, got {type(shape).__name__}")
    return _moved(mask, frame, image) if frame.moved else mask


def _moved(mask: Mask, frame: Frame, image: PreparedImage) -> Mask:
    pixels = mask_ops.decode(mask)
    if frame.turn != 1:
        turns = {5: pixels.T, 6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).T, 8: np.rot90(pixels)}
        return mask_ops.encode(turns[frame.turn])
    size = (image.width, image.height)
    return mask_ops.encode(cv2.resize(pixels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)


def _from_polygons(shape: list[Any], shares: bool, frame: Frame) -> Mask:
    polygons = shape if isinstance(shape[0], list) else [shape]
    if polygons and polygons[0] and isinstance(polygons[0][0], list):  # points as pairs
        polygons = [
            [n for point in polygon for n in (point if isinstance(point, list) else [point])]
            for polygon in polygons
            if isinstance(polygon, list)
        ]
    usable = [_numbers(polygon, None) for polygon in polygons if isinstance(polygon, list) and len(polygon) >= 6]
    if not usable:
        raise MisplacedError("bad_mask", f"expected polygons of three points or more, got {brief(shape)}")
    if shares:
        sides = (frame.width, frame.height)
        usable = [[n * sides[i % 2] for i, n in enumerate(polygon)] for polygon in usable]
    return _drawn(lambda: mask_ops.from_polygons(usable, (frame.height, frame.width)))


def _from_rle(shape: dict[str, Any], frame: Frame) -> Mask:
    size, counts = shape.get("size"), shape.get("counts")
    if not isinstance(size, list | tuple) or list(size) != [frame.height, frame.width]:
        raise MisplacedError("bad_mask", f"expected a mask of size {[frame.height, frame.width]}, got {brief(size)}")
    if isinstance(counts, list):
        return _drawn(lambda: mask_ops.from_counts(counts, (frame.height, frame.width)))
    if not isinstance(counts, str):
        raise MisplacedError("bad_mask", f"expected counts as text or numbers, got {type(counts).__name__}")
    # what is stored must be readable: the decoder checks its length
    return _drawn(lambda: mask_ops.encode(mask_ops.decode(Mask(size=(frame.height, frame.width), counts=counts))))


def _drawn(draw: Callable[[], Mask]) -> Mask:
    try:
        return draw()
    except InputError as error:
        raise MisplacedError("bad_mask", str(error)) from error


def _checked(pixels: Bool[np.ndarray, "h w"], frame: Frame) -> Bool[np.ndarray, "h w"]:
    if pixels.shape != (frame.height, frame.width):
        raise MisplacedError("bad_mask", f"expected a mask of {(frame.height, frame.width)}, got {pixels.shape}")
    return pixels


def _numbers(values: Any, count: int | None) -> list[float]:  # noqa: ANN401 - what JSON held
    fits = isinstance(values, list | tuple) and (count is None or len(values) == count)
    read = [None if isinstance(n, str) else number(n) for n in values] if fits else []
    if not fits or None in read:
        what = f"{count} numbers" if count else "numbers"
        raise MisplacedError("bad_box" if count else "bad_mask", f"expected {what}, got {brief(values)}")
    return [n for n in read if n is not None]
