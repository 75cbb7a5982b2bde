"""Maps with one number per pixel as regions: semantic maps, and panoptic maps with a list of their segments."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32
from PIL import Image

from umgclip.errors import DataError
from umgclip.io.images import MAX_PIXELS
from umgclip.io.places import Place
from umgclip.records import Text
from umgclip.safe_text import brief, cause
from umgclip.sources.formats.shared.labels import Label, Labels
from umgclip.sources.note import Note, Problem, RawRegion
from umgclip.sources.request import HUMAN
from umgclip.sources.values import expected, flag, ident, whole

MAP_BYTES = 256 << 20
_PACKED, _PIECE = 15, 1 << 20  # MATLAB's type of compressed data; bytes decompressed at once
_MOST_UNLISTED = 20  # most segments of a map reported one by one


def labelled(name: str, label: Label, shape: Any = None, source: str = HUMAN) -> RawRegion:  # noqa: ANN401 - as in `RawRegion`
    """Return a region of a class; it has no tags if the class has no label."""
    tags = [Text(text=label.label, source=source)] if label.label else []
    return RawRegion(id=name, shape=shape, tags=tags, is_stuff=not label.is_thing)


def semantic_regions(note: Note, ids: Int32[np.ndarray, "h w"], labels: Labels, void: Iterable[int]) -> None:
    """Add a region for each class of a semantic map.

    A semantic map does not tell how many things of a class there are, so their pixels are a crowd. Void pixels belong
    to nothing; a number that is neither a class nor void is counted as not understood.

    Args:
        note: of the image; its size is the map's from here on.
        ids: the number of each pixel.
        labels: the classes by number.
        void: numbers of no class.
    """
    _begin(note, ids)
    nothing = frozenset(void)
    for number in np.unique(ids).tolist():
        label = labels.get(str(number))
        if label is not None:
            region = labelled(f"given-{number}", label, ids == number)
            region.is_crowd = label.is_thing
            note.region(region)
        elif number not in nothing:
            note.unknown[f"pixels of number {number}"] += 1


def panoptic_segments(note: Note, ids: Int32[np.ndarray, "h w"], segments: Any) -> Iterator[tuple[int, dict[str, Any]]]:  # noqa: ANN401
    """Yield the segments of a panoptic map that have pixels, each with its number; other pixels are void.

    What does not fit is a problem of the note: segments without number, with a repeated number or without pixels, and
    pixels of segments that are not listed.

    Args:
        note: of the image.
        ids: the segment of each pixel, 0 for none.
        segments: as COCO writes them, with `id`.

    Raises:
        DataError: they are no list, so nobody knows what the map shows.
    """
    if not isinstance(segments, list):
        raise DataError(expected("segments_info", "a list of segments", segments))
    counts = dict(zip(*(values.tolist() for values in np.unique(ids, return_counts=True)), strict=True))
    left = {number: count for number, count in counts.items() if number != 0}
    known: set[int] = set()
    for segment in segments:
        number = whole(segment.get("id")) if isinstance(segment, dict) else None
        if number is None or number in known:
            what = f"expected a segment with an id of its own, got {brief(segment)}"
            note.problems.append(Problem("bad_segment", what, None if number is None else f"given-{number}"))
            continue
        known.add(number)
        if number not in counts:
            detail = "expected a segment with pixels, its map has none of its id"
            note.problems.append(Problem("empty_mask", detail, f"given-{number}"))
            continue
        left.pop(number, None)
        yield number, segment
    for number, count in itertools.islice(left.items(), _MOST_UNLISTED):
        detail = f"{count} pixels of segment {number}, which segments_info does not list, are void"
        note.problems.append(Problem("unlisted_segment", detail, f"given-{number}"))
    if len(left) > _MOST_UNLISTED:
        rest = sum(list(left.values())[_MOST_UNLISTED:])
        detail = (
            f"{rest} pixels of {len(left) - _MOST_UNLISTED} more segments that segments_info does not list are void"
        )
        note.problems.append(Problem("unlisted_segment", detail))


def panoptic_regions(note: Note, ids: Int32[np.ndarray, "h w"], segments: Any, labels: Labels) -> None:  # noqa: ANN401
    """Add the segments of a panoptic map as regions.

    Args:
        note: of the image; its size is the map's from here on.
        ids: the segment of each pixel, 0 for none.
        segments: `id`, `category_id` and perhaps `iscrowd` of each, as COCO writes them.
        labels: the classes by category.

    Raises:
        DataError: the segments are no list.
    """
    _begin(note, ids)
    for number, segment in panoptic_segments(note, ids, segments):
        label = labels.get(str(ident(segment.get("category_id"))))
        if label is None:
            detail = f"expected a known category, got {brief(segment.get('category_id'))}"
            note.problems.append(Problem("no_class", detail, f"given-{number}"))
            continue
        region = labelled(f"given-{number}", label, ids == number)
        region.is_crowd = bool(flag(segment.get("iscrowd", 0))) and label.is_thing
        note.region(region)


def _begin(note: Note, ids: Int32[np.ndarray, "h w"]) -> None:
    note.tags, note.regions = note.tags or [], note.regions or []
    note.size_wh = (ids.shape[1], ids.shape[0])


def read_ids(source: Place, name: str) -> Int32[np.ndarray, "h w"]:
    """Read a map of one channel: PNG or TIFF of 8 or 16 bits, with or without palette, or MATLAB's `LabelMap`.

    Raises:
        DataError: there is no such file, or it is something else.
    """
    data = source.read(name, MAP_BYTES)
    values = _matlab(data, name) if name.endswith(".mat") else _picture(data, name)
    if values.ndim != 2:
        raise DataError(f"{name}: expected a map of one channel, got {values.shape}")
    return values.astype(np.int32)


def read_colours(source: Place, name: str) -> Int32[np.ndarray, "h w 3"]:
    """Read a map whose numbers are encoded in the colours.

    Raises:
        DataError: there is no such file, or it has no colours.
    """
    values = _picture(source.read(name, MAP_BYTES), name)
    if values.ndim != 3 or values.shape[2] < 3:
        raise DataError(f"{name}: expected a map in colours, got {values.shape}")
    return values[..., :3].astype(np.int32)


def read_picture(source: Place, name: str) -> tuple[Int32[np.ndarray, "h w 3"], Int32[np.ndarray, "h w"] | None]:
    """Read a map as colours, and as the numbers of its channel if it has only one.

    Raises:
        DataError: there is no such file, or it is no picture.
    """
    values = _picture(source.read(name, MAP_BYTES), name)
    if values.ndim == 3 and values.shape[2] >= 3:
        return values[..., :3].astype(np.int32), None
    if values.ndim != 2 or values.dtype == bool:
        raise DataError(f"{name}: expected a map in colours, got {values.shape}")
    colours = _picture(source.read(name, MAP_BYTES), name, mode="RGB")
    return colours.astype(np.int32), values.astype(np.int32)


def coco_ids(colours: Int32[np.ndarray, "h w 3"]) -> Int32[np.ndarray, "h w"]:
    """Decode the ids that COCO writes as colours: R + 256 G + 65536 B."""
    return colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]


def _picture(data: bytes, name: str, mode: str | None = None) -> np.ndarray:
    try:
        with Image.open(BytesIO(data), formats=("PNG", "TIFF", "BMP")) as image:
            return np.asarray(image if mode is None else image.convert(mode))
    except Exception as error:  # noqa: BLE001 - any error of Pillow about broken bytes
        raise DataError(f"{name}: not a readable map ({cause(error)})") from error


def _check_unpacked(data: bytes) -> None:
    """Refuse a MATLAB file whose packed parts have more bytes than any map has.

    Raises:
        ValueError: they do.
    """
    order: Literal["little", "big"] = "little" if data[126:128] == b"IM" else "big"
    at, left = 128, 8 * MAX_PIXELS
    while at + 8 <= len(data):
        kind, size = int.from_bytes(data[at : at + 4], order), int.from_bytes(data[at + 4 : at + 8], order)
        if kind == _PACKED:
            unpack, rest = zlib.decompressobj(), data[at + 8 : at + 8 + size]
            while rest and not unpack.eof:
                left -= len(unpack.decompress(rest, _PIECE))
                rest = unpack.unconsumed_tail
                if left < 0:
                    raise ValueError(f"expected at most {8 * MAX_PIXELS} bytes when unpacked, got more")
        at += 8 + size


def _matlab(data: bytes, name: str) -> np.ndarray:
    from scipy.io import loadmat, whosmat

    try:
        _check_unpacked(data)
        (shape,) = [shape for variable, shape, _ in whosmat(BytesIO(data)) if variable == "LabelMap"] or [()]
        if math.prod(shape) > MAX_PIXELS:
            raise ValueError(f"expected at most {MAX_PIXELS} pixels, got {shape}")
        return np.asarray(loadmat(BytesIO(data), variable_names=["LabelMap"])["LabelMap"])
    except Exception as error:  # noqa: BLE001 - any error of SciPy about broken bytes
        raise DataError(f"{name}: expected a MATLAB file with LabelMap ({cause(error)})") from error
