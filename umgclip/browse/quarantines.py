"""What quarantines say: how often each reason, a few images of each, and all that is said of the images shown.

Tables are read some thousand rows at a time, twice: once to choose, once to collect.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from umgclip.errors import DataError
from umgclip.io.places import Folder, Place

_BATCH = 10_000
_REASONS, OTHER = 500, "(other reasons)"
_FAULTS = 100  # of one image
_MORE = f"more than {_FAULTS} rows; the rest is left out here"
_CHARS = 2000  # of one text
_NAMELESS = "(no name)"
_PIECE = 1 << 20
TABLE_BYTES = 4 << 30  # a larger table of images is not copied from S3


@dataclass(frozen=True)
class Fault:
    """One row of a quarantine; without `region` it is about the whole image."""

    region: str | None
    stage: str
    reason: str
    detail: str


@dataclass
class ChosenImages:
    """Rows by reason, and images to show: keys, or names where an image got no key."""

    reasons: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)


def choose(tables: Sequence[Path], count: int, seed: int) -> ChosenImages:
    """Choose images out of quarantines, as evenly over the reasons as they allow.

    Which images are chosen depends on their names and the seed, not on the order of rows.

    Raises:
        DataError: a table is damaged or no quarantine.
    """
    chosen = ChosenImages()
    nearest: dict[str, dict[str, str]] = {}
    for table in tables:
        for batch in _batches(table):
            for reason, name in zip(batch["reason"].to_pylist(), _names(batch).to_pylist(), strict=True):
                known = reason if reason in chosen.reasons or len(chosen.reasons) < _REASONS else OTHER
                chosen.reasons[known] += 1
                _offer(nearest.setdefault(known, {}), name, count, seed)
    queues = [sorted(found, key=found.__getitem__) for _, found in sorted(nearest.items())]
    for turn in range(count):
        for queue in queues:
            if turn < len(queue) and len(chosen.names) < count and queue[turn] not in chosen.names:
                chosen.names.append(queue[turn])
    return chosen


def _offer(kept: dict[str, str], name: str, count: int, seed: int) -> None:
    """Keep the `count` names with the smallest hashes."""
    if name in kept or not count:
        return
    kept[name] = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    if len(kept) > count:
        del kept[max(kept, key=kept.__getitem__)]


def collect(tables: Sequence[Path], names: Collection[str]) -> dict[str, list[Fault]]:
    """All that quarantines say of some images, at most a hundred rows of each.

    Raises:
        DataError: a table is damaged or no quarantine.
    """
    found: dict[str, list[Fault]] = {}
    wanted = pa.array(sorted(names), pa.string())
    for table in tables:
        for batch in _batches(table):
            told = batch.append_column("name", _names(batch))
            for row in told.filter(pc.is_in(told["name"], value_set=wanted)).to_pylist():
                faults = found.setdefault(row["name"], [])
                if len(faults) < _FAULTS:
                    faults.append(_fault(row))
                elif len(faults) == _FAULTS:
                    faults.append(Fault(None, "", "(more)", _MORE))
    return found


def _fault(row: dict[str, str | None]) -> Fault:
    return Fault(row.get("region_id"), row.get("stage") or "", row["reason"] or "", _cut(row.get("detail") or ""))


@dataclass(frozen=True)
class RejectedAnswer:
    """What an annotator said and a rule refused.

    Without `box` it was said of the whole image, without `text` it is the place itself.
    """

    role: str
    reason: str
    text: str | None
    score: float | None
    source: str | None
    region: str | None
    box: list[float] | None
    detail: str


def collect_rejected(table: Path, names: Collection[str]) -> tuple[Counter[str], dict[str, list[RejectedAnswer]]]:
    """Rows by reason of a dataset's `rejected.parquet`, and those of some images, at most a hundred of each.

    Raises:
        DataError: the table is damaged or another one.
    """
    reasons: Counter[str] = Counter()
    found: dict[str, list[RejectedAnswer]] = {}
    wanted = pa.array(sorted(names), pa.string())
    with _explained(table), pq.ParquetFile(table) as file:
        for batch in file.iter_batches(_BATCH):
            for entry in batch["reason"].value_counts().to_pylist():
                known = entry["values"] in reasons or len(reasons) < _REASONS
                reasons[entry["values"] if known else OTHER] += entry["counts"]
            for row in batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pylist():
                rows = found.setdefault(row["key"], [])
                if len(rows) < _FAULTS:
                    rows.append(_rejected(row))
                elif len(rows) == _FAULTS:
                    rows.append(RejectedAnswer("", "(more)", None, None, None, None, None, _MORE))
    return reasons, found


def _rejected(row: dict[str, Any]) -> RejectedAnswer:
    sides = [row[side] for side in ("x0", "y0", "x1", "y1")]
    box = None if None in sides else [round(side, 2) for side in sides]
    score = None if row["score"] is None else round(row["score"], 4)
    text = None if row["text"] is None else _cut(row["text"])
    said = (text, score, row["source"], row["region_id"], box)
    return RejectedAnswer(row["role"] or "", row["reason"] or "", *said, _cut(row["detail"] or ""))


def _cut(text: str) -> str:
    return text if len(text) <= _CHARS else f"{text[:_CHARS]} … ({len(text)} characters)"


def shards_of(table: Path, names: Collection[str]) -> dict[str, str]:
    """The shards of images by key, from a dataset's `images.parquet`.

    Raises:
        DataError: the table is damaged.
    """
    wanted = pa.array(sorted(names), pa.string())
    found: dict[str, str] = {}
    with _explained(table), pq.ParquetFile(table) as file:
        for batch in file.iter_batches(_BATCH, columns=["key", "shard"]):
            rows = batch.filter(pc.is_in(batch["key"], value_set=wanted))
            found.update(zip(rows["key"].to_pylist(), rows["shard"].to_pylist(), strict=True))
    return found


def table_of(place: Place, name: str, scratch: Path) -> Path | None:
    """A dataset's table as a local file; None: it has none, or one that is too large to be copied from S3."""
    if isinstance(place, Folder):
        return place.path / name if place.exists(name) else None
    if not place.exists(name):
        return None
    copy, copied = scratch / name, 0
    with place.open(name) as stream, copy.open("wb") as target:
        while piece := stream.read(_PIECE):
            copied += target.write(piece)
            if copied > TABLE_BYTES:
                break
    if copied > TABLE_BYTES:
        copy.unlink()
        return None
    return copy


def _batches(table: Path) -> Iterator[pa.RecordBatch]:
    with _explained(table), pq.ParquetFile(table) as file:
        missing = {"key", "reason"} - set(file.schema_arrow.names)
        if missing:
            raise DataError(f"{table}: expected a quarantine with key and reason, got no column {sorted(missing)[0]!r}")
        for batch in file.iter_batches(_BATCH):
            columns = {name: batch[name].cast(pa.string()) for name in batch.schema.names}
            columns["reason"] = columns["reason"].fill_null("")
            yield pa.RecordBatch.from_pydict(columns)


def _names(batch: pa.RecordBatch) -> pa.Array:
    """What to call each row's image: its key, or its name in the source where it got none."""
    names = [batch["key"], *([batch["shard"]] if "shard" in batch.schema.names else [])]
    return pc.coalesce(*names, pa.scalar(_NAMELESS))


@contextmanager
def _explained(table: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, OSError, KeyError) as error:
        raise DataError(f"{table}: not a readable table ({type(error).__name__}: {error})") from error
