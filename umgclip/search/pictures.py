"""Pictures of results and crops of their boxes: read back from shards, and encoded as JPEG without metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from umgclip.browse.reading import Wanted, pick
from umgclip.errors import DataError, UmgclipError
from umgclip.io.images import decode_image
from umgclip.io.places import place_at
from umgclip.search.hits import Hit
from umgclip.search.state import IndexState

SIDE_PX, CROP_PX = 640, 200
_QUALITY = 85
ImageId = tuple[str, str, int]


@dataclass(frozen=True)
class Pictured:
    """An image of results, or the reason why it cannot be shown.

    Attributes:
        image: part, shard and position.
        pixels: None if it cannot be read.
        problem: None if it can.
    """

    image: ImageId
    pixels: UInt8[np.ndarray, "height width 3"] | None
    problem: str | None = None


def parts_of(state: IndexState, dataset: str | None = None) -> dict[str, str]:
    """Return the place of each part of an index.

    Args:
        state: of the index.
        dataset: where the dataset lies now, if it was moved.
    """
    if dataset is None:
        return dict(state.parts)
    base = dataset.rstrip("/")
    inner = {name: where.removeprefix(state.dataset).lstrip("/") for name, where in state.parts.items()}
    return {name: f"{base}/{below}" if below else base for name, below in inner.items()}


def read_images(hits: Iterable[Hit], parts: Mapping[str, str]) -> Iterator[Pictured]:
    """Read the images of results, each once, a shard at a time; nothing is raised for one that cannot be read.

    Args:
        hits: results.
        parts: place of each part, as `parts_of` gives them.
    """
    wanted: dict[tuple[str, str], dict[int, str]] = {}
    for hit in hits:
        wanted.setdefault((hit.split, hit.shard), {})[hit.position] = hit.key
    for (split, shard), keys in wanted.items():
        missing = dict(keys)
        problem = "it is no longer in the dataset; run `umgclip index` again"
        try:
            place = place_at(parts[split]) if parts[split].startswith("s3://") else place_at(Path(parts[split]))
            for sample in pick(place, shard, Wanted(frozenset(keys))):
                key = missing.pop(sample.position, None)
                if key is not None:
                    yield _pictured((split, shard, sample.position), key, sample.key, sample.image)
        except UmgclipError as error:
            problem = str(error)
        for position in missing:
            yield Pictured((split, shard, position), None, problem)


def _pictured(image: ImageId, expected: str, key: str, data: bytes | None) -> Pictured:
    where = f"{image[1]}:{key}"
    if key != expected:
        return Pictured(image, None, f"{where}: expected {expected}; the dataset changed, run `umgclip index` again")
    try:
        return Pictured(image, decode_image(data or b"", where=where))
    except DataError as error:
        return Pictured(image, None, str(error))


def jpeg(pixels: UInt8[np.ndarray, "height width 3"], side_px: int = SIDE_PX) -> bytes:
    """Encode pixels as JPEG, scaled so that no side is longer than `side_px`."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()


def crop(pixels: UInt8[np.ndarray, "height width 3"], box_xyxy: Sequence[float]) -> UInt8[np.ndarray, "h w 3"]:
    """Cut a box out of an image, at least one pixel wide and high."""
    height, width = pixels.shape[:2]
    x0, y0 = (min(max(0, int(box_xyxy[0])), width - 1), min(max(0, int(box_xyxy[1])), height - 1))
    x1, y1 = max(x0 + 1, round(min(box_xyxy[2], width))), max(y0 + 1, round(min(box_xyxy[3], height)))
    return np.ascontiguousarray(pixels[y0:y1, x0:x1])
