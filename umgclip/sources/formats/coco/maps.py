"""COCO's panoptic maps: PNG files whose colours encode the ids of segments."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int32

from umgclip.errors import DataError
from umgclip.io.places import Place
from umgclip.sources.formats.shared.segments import coco_ids, read_picture
from umgclip.sources.naming import spellings
from umgclip.sources.values import whole


def read_map(masks: Place, name: Any, segments: list[Any]) -> Int32[np.ndarray, "h w"]:  # noqa: ANN401 - what JSON held
    """Read the segment id of each pixel; 0 means no segment.

    Programs that shrink PNG files write a map of few colours with a palette, or in grey. The visible colours count;
    where no listed segment is found in them, the palette's indices are the ids.

    Args:
        masks: folder of the files.
        name: file name in the JSON; its folders and its extension may differ from the real ones.
        segments: segments that the JSON lists.

    Raises:
        DataError: the map is missing or unreadable; the message names it.
    """
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"file_name: expected the name of a PNG file, got {name!r}")
    pixels, palette = read_picture(masks, _there(masks, name))
    listed = {number for segment in segments if isinstance(segment, dict) and (number := whole(segment.get("id")))}
    ids = coco_ids(pixels)
    if palette is not None and not listed & set(np.unique(ids).tolist()):
        return palette
    return ids


def _there(masks: Place, name: str) -> str:
    """Return the path of the file that exists in the folder of the maps."""
    candidates = spellings(name)
    for spelled in candidates:
        for path in (spelled, spelled.rpartition("/")[2]):
            for tried in (path, f"{path.rpartition('.')[0] or path}.png", f"{path}.png"):
                if masks.exists(tried):
                    return tried
    if not candidates:
        raise DataError(f"file_name: expected the name of a PNG file, got {name!r}")
    return candidates[0]
