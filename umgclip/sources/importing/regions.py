"""Conversion of a source's regions to records: boxes and masks in pixels of the stored, upright image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.images import PreparedImage
from umgclip.records import Mask, Region
from umgclip.safe_text import brief
from umgclip.sources.importing.frames import Extent, Frame, Size, choose_frame
from umgclip.sources.importing.shapes import ShapeError, draw, is_nothing, measure, moved
from umgclip.sources.note import Problem, RawRegion
from umgclip.sources.values import expected, number, share

_DIGITS = 3  # decimals of a pixel
_NEAR_PX = 0.01  # largest difference by rounding
_SLACK_PX, _SLACK_SHARE = 2.0, 0.01  # how far rounding may move a box out of the image: px, share of the side
Box = tuple[float, float, float, float]


class MisplacedError(InputError):
    """Error for a region, or its box or mask, that cannot be placed; `reason` is one word."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass
class PlacedRegions:
    """Regions in pixels of the stored image, and problems with those that could not be placed.

    Attributes:
        problems: what could not be placed; a region with one good half is among the regions, too.
        told: counts for the summary.
        mismatched: some regions were measured on an image of another size.
    """

    regions: list[Region] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    mismatched: bool = False


def number_regions(raws: Iterable[RawRegion]) -> int:
    """Give every region a unique id; return the number of regions that had none, or another region's.

    The first region with an id keeps it. The same regions in the same order get the same ids.
    """
    raws = list(raws)
    prepared = {raw.id for raw in raws}
    seen, numbered, number = {""}, 0, 0
    for raw in raws:
        if raw.id in seen:
            while f"given-{number}" in prepared:
                number += 1
            raw.id, numbered = f"given-{number}", numbered + 1
            prepared.add(raw.id)
        seen.add(raw.id)
    return numbered


def place_regions(raws: Sequence[RawRegion], image: PreparedImage, size_wh: Size | None) -> PlacedRegions:
    """Convert regions to pixels of the stored image, in order, and collect those that cannot be placed.

    Args:
        raws: regions of the source.
        image: the stored image.
        size_wh: the image's size in pixels according to the source, if it states one.
    """
    placed = PlacedRegions()
    frames = _frames(raws, image, size_wh, placed)
    for raw in raws:
        frame = frames[_picture(raw, size_wh)]
        if frame is None:
            width, height = raw.size_wh or size_wh or (0, 0)
            detail = f"expected an image of {width} x {height} or its aspect, got {image.width} x {image.height}"
            placed.problems.append(Problem("size_mismatch", detail, raw.id))
            continue
        try:
            region = _place(raw, frame, image, placed)
            placed.regions.append(region if raw.known is None else _restored(region, raw.known))
            if share(raw.score) is None:  # not a usable score
                placed.problems.append(Problem("bad_score", expected("score", "a number", raw.score), raw.id))
        except MisplacedError as error:
            placed.problems.append(Problem(error.reason, str(error), raw.id))
    return placed


def _picture(raw: RawRegion, size_wh: Size | None) -> tuple[Size | None, bool]:
    """Return what regions in the same frame have in common."""
    return raw.size_wh or size_wh, raw.exchanged


def _frames(
    raws: Sequence[RawRegion], image: PreparedImage, size_wh: Size | None, placed: PlacedRegions
) -> dict[tuple[Size | None, bool], Frame | None]:
    extents: dict[tuple[Size | None, bool], Extent] = {}
    for raw in raws:
        _measure(raw, extents.setdefault(_picture(raw, size_wh), Extent()))
    frames = {}
    for (size, exchanged), extent in extents.items():
        chosen = choose_frame(image, size, extent, exchanged=exchanged)
        frames[(size, exchanged)] = chosen.frame
        placed.mismatched |= chosen.frame is None
        if chosen.told is not None:
            placed.told[chosen.told] += 1
    return frames


def _measure(raw: RawRegion, extent: Extent) -> None:
    if raw.shares:
        return
    measure(raw.shape, extent)
    try:
        x0, y0, x1, y1 = _numbers(raw.box)
    except MisplacedError:
        return
    ends = {"xyxy": (x1, y1), "xywh": (x0 + x1, y0 + y1), "cxcywh": (x0 + x1 / 2, y0 + y1 / 2)}
    extent.reach(*ends[raw.form])


def _place(raw: RawRegion, frame: Frame, image: PreparedImage, placed: PlacedRegions) -> Region:
    """Place a region if its box or its mask is good; the other half becomes a problem."""
    wrong: MisplacedError | None = None
    mask, box = None, None
    try:
        mask = _mask(raw, frame, image, placed)
    except MisplacedError as error:
        wrong = error
    try:
        box = _clipped(_box(raw, frame), image, placed) if raw.box is not None else None
    except MisplacedError as error:
        wrong = wrong or error
    if box is None and mask is None:
        raise wrong or MisplacedError("no_box", "expected a box or a mask, got neither")
    if wrong is not None:
        half = "mask" if mask is not None else "box"
        placed.problems.append(Problem(wrong.reason, f"{wrong}; the region keeps its {half}", raw.id))
        placed.told[f"regions that keep their {half} alone"] += 1
    tight = mask_ops.tight_box(mask) if mask is not None else None
    sure = share(raw.score)
    return Region(
        id=raw.id,
        box_xyxy=box or tight or (0, 0, 0, 0),
        mask=mask,
        is_stuff=raw.is_stuff,
        is_crowd=raw.is_crowd,
        score=1.0 if sure is None else sure,
        captions=raw.captions,
        tags=raw.tags,
        negatives=raw.negatives or None,
    )


def _restored(region: Region, known: Region) -> Region:
    """Return the known record of a region with its present box and mask."""
    near = all(abs(now - was) <= _NEAR_PX for now, was in zip(region.box_xyxy, known.box_xyxy, strict=True))
    geometry = {"id": region.id, "mask": region.mask, "is_stuff": region.is_stuff, "is_crowd": region.is_crowd}
    return known.model_copy(update={**geometry, "box_xyxy": known.box_xyxy if near else region.box_xyxy})


def _box(raw: RawRegion, frame: Frame) -> Box:
    numbers = _numbers(raw.box)
    if raw.shares:
        numbers = [n * side for n, side in zip(numbers, (frame.width, frame.height) * 2, strict=True)]
    x0, y0, x1, y1 = numbers
    if raw.form == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    elif raw.form == "cxcywh":
        x0, y0, x1, y1 = x0 - x1 / 2, y0 - y1 / 2, x0 + x1 / 2, y0 + y1 / 2
    if not (x0 < x1 and y0 < y1):
        raise MisplacedError("bad_box", f"expected x0 < x1 and y0 < y1, got {[x0, y0, x1, y1]}")
    (x0, y0), (x1, y1) = _turned(x0, y0, frame), _turned(x1, y1, frame)
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
    return x0 * frame.scale[0], y0 * frame.scale[1], x1 * frame.scale[0], y1 * frame.scale[1]


def _turned(x: float, y: float, frame: Frame) -> tuple[float, float]:
    """Turn a point of the file as stored into a point of the image as shown."""
    if frame.turn == 1:
        return x, y
    right = frame.height - y if frame.turn in (6, 7) else y
    down = frame.width - x if frame.turn in (7, 8) else x
    return right, down


def _clipped(box: Box, image: PreparedImage, placed: PlacedRegions) -> Box:
    sides = (image.width, image.height) * 2
    x0, y0, x1, y1 = (round(min(max(n, 0.0), float(side)), _DIGITS) for n, side in zip(box, sides, strict=True))
    if not (x0 < x1 and y0 < y1):
        where = [round(n, _DIGITS) for n in box]
        raise MisplacedError("box_outside", f"expected a box inside {image.width} x {image.height}, got {where}")
    if any(max(-n, n - side) > max(_SLACK_PX, _SLACK_SHARE * side) for n, side in zip(box, sides, strict=True)):
        placed.told["boxes that leave their image, cut at its edge"] += 1
    return x0, y0, x1, y1


def _mask(raw: RawRegion, frame: Frame, image: PreparedImage, placed: PlacedRegions) -> Mask | None:
    if is_nothing(raw.shape):
        return None
    try:
        mask, part = draw(raw.shape, frame, shares=raw.shares)
        mask = moved(mask, frame, (image.width, image.height))
    except ShapeError as error:
        raise MisplacedError("bad_mask", str(error)) from error
    if part is not None:
        placed.problems.append(Problem("bad_mask", f"{part}; the region keeps the rest", raw.id))
    if mask_ops.tight_box(mask) is None:
        raise MisplacedError("empty_mask", "expected a mask with pixels, got an empty one")
    return mask


def _numbers(values: Any) -> list[float]:  # noqa: ANN401 - what JSON held
    fits = isinstance(values, list | tuple) and len(values) == 4
    read = [None if isinstance(n, str) else number(n) for n in values] if fits else []
    if not fits or None in read:
        raise MisplacedError("bad_box", f"expected 4 numbers, got {brief(values)}")
    return [n for n in read if n is not None]
