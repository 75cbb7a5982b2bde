"""One image of the gallery: its picture as a small JPEG file, and its annotations as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from umgclip.browse.reading import PickedSample
from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.geometry.outline import svg_path
from umgclip.io.images import MAX_PIXELS, decode_image
from umgclip.records import ImageRecord, Mask, Region, Text, parse_record

_REGIONS, _TEXTS, _CHARS = 300, 50, 2000  # most regions of an image, texts of a list, characters of a text
_NAME = 4096  # characters of the path of a file, which is copied whole
_QUALITY = 82
Card = dict[str, Any]


def describe(sample: PickedSample, side_px: int) -> tuple[Card, bytes | None]:
    """Build the card and the picture of a sample; what cannot be read is stated in the card's notes, never raised.

    The picture is re-encoded: it has no metadata, and is a JPEG file whatever the shard holds.

    Args:
        sample: a stored sample.
        side_px: longer side of the picture; a smaller image keeps its size. Outlines are drawn on a grid of this
            longer side.
    """
    where = f"{sample.shard}:{sample.key}"
    notes = [sample.problem] if sample.problem else []
    record = picture = None
    pixels_wh: tuple[int, int] | None = None
    try:
        if sample.image is not None:
            image = Image.fromarray(decode_image(sample.image, where=where))
            pixels_wh = image.size
            picture = _jpeg(image, side_px)
    except DataError as error:
        notes.append(str(error))
    try:
        record = parse_record(sample.json, where=where) if sample.json is not None else None
    except DataError as error:
        notes.append(str(error))
    if record is not None and record.key != sample.key:
        notes.append(f"the record's key is {record.key!r}")
    if record is not None and pixels_wh not in (None, (record.width, record.height)):
        notes.append(f"the record says {record.width} x {record.height} pixels, the image has {pixels_wh}")
    card: Card = {"key": sample.key, "shard": sample.shard, "readable": picture is not None and record is not None}
    wh = (record.width, record.height) if record is not None else pixels_wh
    card |= {"wh": wh, "grid": None if wh is None else grid(*wh, side_px)}
    if record is not None:
        card |= _annotations(record, card["grid"], notes)
    return {**card, "notes": [_cut(note) for note in notes]}, picture


def missing(name: str, why: str) -> Card:
    """Build the card of an image that is not in the dataset."""
    return {"key": name, "shard": None, "readable": False, "wh": None, "grid": None, "notes": [why]}


def grid(width: int, height: int, side_px: int) -> tuple[int, int]:
    """Scale width and height so that the longer side is `side_px`."""
    scale = side_px / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _jpeg(image: Image.Image, side_px: int) -> bytes:
    if max(image.size) > side_px:
        image = image.resize(grid(*image.size, side_px), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _annotations(record: ImageRecord, grid_wh: tuple[int, int], notes: list[str]) -> Card:
    regions = record.regions
    if regions is not None and len(regions) > _REGIONS:
        notes.append(f"{len(regions)} regions, the first {_REGIONS} are shown")
        regions = regions[:_REGIONS]
    return {
        "source": {name: _cut(value, _NAME if name == "name" else _CHARS) for name, value in _source(record)},
        "captions": _texts(record.captions, notes),
        "tags": _texts(record.tags, notes),
        "regions": None if regions is None else [_region(region, record, grid_wh, notes) for region in regions],
    }


def _region(region: Region, record: ImageRecord, grid_wh: tuple[int, int], notes: list[str]) -> Card:
    card: Card = {
        "id": _cut(region.id),
        "box": [round(side, 2) for side in region.box_xyxy],
        "stuff": region.is_stuff,
        "score": round(region.score, 4),
        "captions": _texts(region.captions, notes),
        "tags": _texts(region.tags, notes),
    }
    sources = {"found by": region.source, "drawn by": region.mask_source}
    card |= {"by": {name: _cut(source) for name, source in sources.items() if source is not None}}
    if region.negatives:
        card["negatives"] = _texts(region.negatives, notes)
    if region.mask is not None:
        try:
            card["outline"] = svg_path(_pixels(region.mask, record), grid_wh)
            card["area"] = mask_ops.area(region.mask)
        except InputError as error:
            notes.append(f"region {region.id}: {error}")
    return card


def _pixels(mask: Mask, record: ImageRecord) -> Bool[np.ndarray, "h w"]:
    height, width = mask.size
    if not 0 < height * width <= MAX_PIXELS:
        raise InputError(f"mask: expected 1 to {MAX_PIXELS} pixels, got {width} x {height}")
    if mask.size != (record.height, record.width):
        raise InputError(f"mask: expected {record.width} x {record.height} pixels as the image, got {width} x {height}")
    return mask_ops.decode(mask)


def _texts(texts: Sequence[Text] | None, notes: list[str]) -> list[tuple[str, float, str, str]] | None:
    if texts is None:
        return None
    if len(texts) > _TEXTS:
        notes.append(f"a list of {len(texts)} texts, the first {_TEXTS} are shown")
    return [(_cut(text.text), round(text.score, 4), _cut(text.source), _others(text)) for text in texts[:_TEXTS]]


def _others(text: Text) -> str:
    """Summarise the scores of filters and the agreement of other annotators about a text."""
    filtered = [] if text.filter_score is None else [f"filter {text.filter_score:.3f}"]
    return _cut("; ".join([*filtered, *([f"also {', '.join(text.agreed_by)}"] if text.agreed_by else [])]))


def _source(record: ImageRecord) -> list[tuple[str, str]]:
    return [(name, value) for name, value in record.source.model_dump().items() if value is not None]


def _cut(text: str, most: int = _CHARS) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text)} characters)"
