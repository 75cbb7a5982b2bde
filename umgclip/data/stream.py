"""Samples in a seeded, resumable order: the same seed gives the same stream, from any position."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.images import decode_image
from umgclip.io.manifest import read_manifest
from umgclip.io.shard_source import read_shard_at, shard_at
from umgclip.io.shards import RawSample
from umgclip.records import ImageRecord, stored_record

_T = TypeVar("_T")


@dataclass(frozen=True)
class Sample:
    """One decoded image and its record."""

    pixels: UInt8[np.ndarray, "height width 3"]
    record: ImageRecord


def read_raw(folder: Path, *, may_be_empty: bool = False) -> Iterator[tuple[str, RawSample]]:
    """Yield every sample of a dataset in stored order, with its shard's name.

    Raises:
        DataError: no dataset, a damaged shard, or no sample unless it `may_be_empty`.
    """
    for shard in read_manifest(folder, may_be_empty=may_be_empty).shards:
        for raw in read_shard_at(shard_at(folder, shard.path), shard.sha256):
            yield shard.path, raw


def decode(raw: RawSample, where: str) -> Sample:
    """Decode a stored sample's image and record.

    Raises:
        DataError: a bad image or a bad record, one that belongs to another image, or a mask that cannot be decoded;
            with `where` and the key.
    """
    name = f"{where}:{raw.key}"
    pixels = decode_image(raw.image, where=name)
    record = stored_record(raw.json, key=raw.key, where=name)
    if pixels.shape[:2] != (record.height, record.width):
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise DataError(f"{name}: expected {record.width} x {record.height} pixels as recorded, got {size}")
    for region in record.regions or []:
        try:
            if region.mask is not None:
                mask_ops.area(region.mask)
        except InputError as error:
            raise DataError(f"{name}: region {region.id}: {error}") from error
    return Sample(pixels, record)


def prefetched(source: Iterator[_T], depth: int = 2) -> Iterator[_T]:
    """Yield the items of `source`, up to `depth` of them made ahead by a thread: decoding overlaps with training.

    Order and errors are those of `source`.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        waiting = deque(thread.submit(next, source, end) for _ in range(depth))
        while True:
            item = waiting.popleft().result()
            if item is end:
                return
            waiting.append(thread.submit(next, source, end))
            yield item  # type: ignore[misc]  # not the end
