"""Preparation of samples for an index: decoded, checked, and embedded together with their regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, UInt8

from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.inference.arguments import batches
from umgclip.inference.model import Model
from umgclip.io.images import decode_image
from umgclip.records import ImageRecord, Region, stored_record
from umgclip.search.rows import Row, SampleAt, ShardId, image_row, region_row

BATCH = 32
_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


@dataclass
class SearchSample:
    """A sample that is ready for the model, or the reason why it is not.

    Attributes:
        sample: as stored.
        record: None if the sample cannot be used.
        pixels: of the image; None if the sample cannot be used.
        regions: those that can be embedded.
        masks: the mask of each of them, or None for its box.
        problems: region, reason and detail of what cannot be; the region None stands for the whole sample.
    """

    sample: SampleAt
    record: ImageRecord | None = None
    pixels: UInt8[np.ndarray, "height width 3"] | None = None
    regions: list[Region] = field(default_factory=list)
    masks: list[Bool[np.ndarray, "height width"] | None] = field(default_factory=list)
    problems: list[tuple[str | None, str, str]] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """True if the image can be embedded at all."""
        return self.pixels is not None


def prepare(sample: SampleAt, where: str) -> SearchSample:
    """Decode the image of a sample and check its regions; nothing is raised for bad data.

    Args:
        sample: as stored.
        where: the shard, for messages.
    """
    prepared, name = SearchSample(sample), f"{where}:{sample.raw.key}"
    try:
        record = stored_record(sample.raw.json, key=sample.raw.key, where=name)
        pixels = decode_image(sample.raw.image, where=name)
    except DataError as error:
        prepared.problems.append((None, "unreadable", str(error)))
        return prepared
    size = f"{pixels.shape[1]} x {pixels.shape[0]}"
    if size != f"{record.width} x {record.height}":
        detail = f"{name}: the record says {record.width} x {record.height} pixels, the image has {size}"
        prepared.problems.append((None, "size_differs", detail))
        return prepared
    prepared.record, prepared.pixels = record, pixels
    for region in record.regions or []:
        try:
            mask = _mask(region, record)
        except InputError as error:
            prepared.problems.append((region.id, "bad_region", f"{name}: region {region.id}: {error}"))
            continue
        prepared.regions.append(region)
        prepared.masks.append(mask)
    return prepared


def _mask(region: Region, record: ImageRecord) -> Bool[np.ndarray, "height width"] | None:
    """Return the mask of a region, None without one, after a look at its box.

    Raises:
        InputError: the box has no part inside the image, or the mask is damaged or empty.
    """
    x0, y0, x1, y1 = region.box_xyxy
    if min(x1, record.width) <= max(x0, 0) or min(y1, record.height) <= max(y0, 0):
        box = ", ".join(f"{side:g}" for side in region.box_xyxy)
        raise InputError(f"box_xyxy: expected a part inside {record.width} x {record.height} pixels, got [{box}]")
    if region.mask is None:
        return None
    mask = mask_ops.decode(region.mask)
    if not mask.any():
        raise InputError("mask: expected at least one pixel inside, got an empty mask")
    return mask


def embed(model: Model, prepared: Sequence[SearchSample], shard: ShardId) -> list[Row]:
    """Embed samples that fit, with their regions, in one forward pass; return their rows.

    Raises:
        DataError: the model gives numbers that are infinite or none.
    """
    fitting = [one for one in prepared if one.fits]
    if not fitting:
        return []
    boxes = [[region.box_xyxy for region in one.regions] for one in fitting]
    pairs = model.embed_with_regions([one.pixels for one in fitting], boxes, [one.masks for one in fitting], BATCH)
    rows: list[Row] = []
    for one, (image, regions) in zip(fitting, pairs, strict=True):
        record, place = one.record, shard.place(one.sample.position, one.sample.digest)
        if record is None:
            continue
        rows.append(image_row(record, place, image.astype(np.float16)))
        for region, vector in zip(one.regions, regions.astype(np.float16), strict=True):
            rows.append(region_row(record, region, place, vector))
    return rows


def ahead(
    items: Sequence[_Item], work: Callable[[_Item], _Made], pool: ThreadPoolExecutor, size: int = BATCH
) -> Iterator[list[_Made]]:
    """Yield results in batches, in order, while the threads are at work on the batch after."""
    waiting: list[Future[_Made]] = []
    for part in batches(items, size):
        following = [pool.submit(work, item) for item in part]
        if waiting:
            yield [future.result() for future in waiting]
        waiting = following
    if waiting:
        yield [future.result() for future in waiting]
