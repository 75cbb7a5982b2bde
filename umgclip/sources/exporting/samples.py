"""Samples of a dataset for an export, each checked: a program that reads the export trusts sizes and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.images import SIDEWAYS, orientation_of
from umgclip.io.manifest import ShardInfo
from umgclip.io.places import Place
from umgclip.io.shard_source import ShardAt
from umgclip.io.shards import RawSample
from umgclip.records import ImageRecord, stored_record

Advance = Callable[[int], None]


def checked_samples(dataset: Place, info: ShardInfo) -> Iterator[tuple[RawSample, ImageRecord]]:
    """Yield the samples of a shard with their records.

    Raises:
        DataError: the shard is damaged, or a record does not fit its image.
    """
    for raw in ShardAt(dataset, info).samples():
        yield raw, _checked(raw, f"{info.path}:{raw.key}")


def _checked(raw: RawSample, where: str) -> ImageRecord:
    """Parse a sample's record; check that its size is the image's and that its masks can be decoded."""
    record = stored_record(raw.json, key=raw.key, where=where)
    try:
        turn, raw_wh = orientation_of(raw.image)
        for region in record.regions or []:
            if region.mask is not None:
                mask_ops.area(region.mask)
    except (DataError, InputError) as error:
        raise DataError(f"{where}: {error}") from error
    width, height = raw_wh if turn < SIDEWAYS else raw_wh[::-1]
    if (width, height) != (record.width, record.height):
        recorded = f"{record.width} x {record.height} pixels as recorded"
        raise DataError(f"{where}: expected {recorded}, got {width} x {height}")
    return record
