"""Unreadable samples: counted during training and listed with its result."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from umgclip.errors import DataError, UmgclipError
from umgclip.io import tables

_log = logging.getLogger(__name__)
# what a valid record may raise with an image of another size, or with an invalid mask
BAD_RECORD = (ArithmeticError, LookupError, RuntimeError, UmgclipError, ValueError, cv2.error)


@dataclass(frozen=True)
class Dropped:
    """The quarantine of `validate`: whole images by key, single regions by key."""

    images: frozenset[str]
    regions: dict[str, frozenset[str]]


@dataclass(frozen=True)
class Failed:
    """A sample that could not be read: where it is stored, and why."""

    key: str
    shard: str
    detail: str


@dataclass(frozen=True)
class Unreadable:
    """Samples that could not be read, counted against `max_failed`.

    Attributes:
        seen: by key, with shard and reason; kept in the state of the run.
        most_share: how many there may be, as a share of `samples`.
        samples: of how many.
        stage: that reads them.
        first: whether this process logs them.
    """

    seen: dict[str, tuple[str, str]]
    most_share: float
    samples: int
    stage: str
    first: bool = True

    def add(self, failed: Iterable[Failed]) -> None:
        """Count samples that failed for the first time.

        Raises:
            DataError: there are too many; names the last of them.
        """
        for failure in failed:
            if failure.key not in self.seen:
                self.seen[failure.key] = (failure.shard, failure.detail)
                if self.first:
                    _log.warning("%s: left out: %s", self.stage, failure.detail)
        most = math.floor(self.most_share * self.samples)
        if len(self.seen) > most:
            key, (shard, detail) = next(reversed(self.seen.items()))
            raise DataError(
                f"{self.stage}: expected at most {most} unreadable of {self.samples} samples "
                f"({self.stage}.max_failed), got {len(self.seen)}; the last is {key} of {shard}: {detail}"
            )


def write_unreadable(folder: Path, seen: Mapping[str, tuple[str, str]], stage: str) -> None:
    """Write `quarantine.parquet` with one row per sample; no file if there is none."""
    rows = [
        {"key": key, "shard": shard, "region_id": None, "stage": stage, "reason": "unreadable", "detail": detail}
        for key, (shard, detail) in sorted(seen.items())
    ]
    if rows:
        tables.write_table(folder / "quarantine.parquet", rows, tables.QUARANTINE)


def read_dropped(path: Path) -> Dropped:
    """Read validation's quarantine as sets; a row without a region stands for its whole image.

    Raises:
        DataError: no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected validation's quarantine, found none; run `umgclip validate` first")
    table = tables.read_columns(path, ["key", "region_id"]).to_pylist()
    images = frozenset(row["key"] for row in table if row["key"] is not None and row["region_id"] is None)
    regions: dict[str, set[str]] = defaultdict(set)
    for row in table:
        if row["key"] is not None and row["region_id"] is not None:
            regions[row["key"]].add(row["region_id"])
    return Dropped(images, {key: frozenset(ids) for key, ids in regions.items()})
