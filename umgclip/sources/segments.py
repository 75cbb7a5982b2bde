"""Pixels with a number each, as regions: semantic maps, and panoptic maps with a list of their segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Int32
from PIL import Image

from umgclip.errors import DataError
from umgclip.io.places import Place
from umgclip.records import Text
from umgclip.sources.found import Note, Problem, RawRegion
from umgclip.sources.labels import Label, Labels
from umgclip.sources.request import HUMAN

MAP_BYTES = 256 << 20


def labelled(name: str, label: Label, shape: Any = None) -> RawRegion:  # noqa: ANN401 - as in `RawRegion`
    """A region of a class."""
    return RawRegion(id=name, shape=shape, tags=[Text(text=label.label, source=HUMAN)], is_stuff=not label.is_thing)


def semantic_regions(note: Note, ids: Int32[np.ndarray, "h w"], labels: Labels, void: Iterable[int]) -> None:
    """Add a region for each class of a semantic map.

    How many things of a class there are a semantic map does not tell, so their pixels are a crowd. Void pixels belong
    to nothing; a number that is neither a class's nor void is counted as not understood.

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


def panoptic_regions(
    note: Note, ids: Int32[np.ndarray, "h w"], segments: Iterable[Mapping[str, Any]], labels: Labels
) -> None:
    """Add the segments of a panoptic map; pixels of no segment are void.

    Args:
        note: of the image; its size is the map's from here on.
        ids: the segment of each pixel.
        segments: `id`, `category_id` and perhaps `iscrowd` of each, as COCO writes them.
        labels: the classes by category.
    """
    _begin(note, ids)
    for segment in segments:
        name, category = f"given-{segment.get('id')}", segment.get("category_id")
        label = labels.get(str(category))
        if label is None:
            note.problems.append(Problem("no_class", f"expected a known category, got {category!r}", name))
            continue
        region = labelled(name, label, ids == int(segment["id"]))
        region.is_crowd = bool(segment.get("iscrowd")) and label.is_thing
        note.region(region)


def _begin(note: Note, ids: Int32[np.ndarray, "h w"]) -> None:
    note.tags, note.regions = note.tags or [], note.regions or []
    note.size_wh = note.size_wh or (ids.shape[1], ids.shape[0])


def read_ids(place: Place, name: str) -> Int32[np.ndarray, "h w"]:
    """A map of one channel: PNG or TIFF of 8 or 16 bits, with or without palette, or a MATLAB file with `LabelMap`.

    Raises:
        DataError: there is no such file, or it is something else.
    """
    data = place.read(name, MAP_BYTES)
    values = _matlab(data, name) if name.endswith(".mat") else _picture(data, name)
    if values.ndim != 2:
        raise DataError(f"{name}: expected a map of one channel, got {values.shape}")
    return values.astype(np.int32)


def read_colours(place: Place, name: str) -> Int32[np.ndarray, "h w 3"]:
    """A map whose numbers are written in the colours.

    Raises:
        DataError: there is no such file, or it has no colours.
    """
    values = _picture(place.read(name, MAP_BYTES), name)
    if values.ndim != 3 or values.shape[2] < 3:
        raise DataError(f"{name}: expected a map in colours, got {values.shape}")
    return values[..., :3].astype(np.int32)


def coco_ids(colours: Int32[np.ndarray, "h w 3"]) -> Int32[np.ndarray, "h w"]:
    """The ids that COCO writes as colours: R + 256 G + 65536 B."""
    return colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]


def _picture(data: bytes, name: str) -> np.ndarray:
    try:
        with Image.open(BytesIO(data), formats=("PNG", "TIFF", "BMP")) as image:
            return np.asarray(image)
    except Exception as error:  # noqa: BLE001 - whatever Pillow makes of broken bytes
        raise DataError(f"{name}: not a readable map ({type(error).__name__}: {error})") from error


def _matlab(data: bytes, name: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        return np.asarray(loadmat(BytesIO(data))["LabelMap"])
    except Exception as error:  # noqa: BLE001 - whatever SciPy makes of broken bytes
        raise DataError(f"{name}: expected a MATLAB file with LabelMap ({type(error).__name__}: {error})") from error
