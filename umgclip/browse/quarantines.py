"""Reading of quarantines: counts by reason, a few images for each reason, and all rows of the images shown.

Tables are read some thousand rows at a time, twice: once to choose images, once to collect their rows.
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
_FAULTS = 100  # most rows shown of one image
_MORE = f"more than {_FAULTS} rows; the rest is left out here"
_CHARS = 2000  # most characters of one text
_NAMELESS = "(no name)"
_PIECE = 1 << 20
TABLE_BYTES = 4 << 30  # a larger table of images is not copied from S3


@dataclass(frozen=True)
class Fault:
    """One row of a quarantine; a row without `region` is about the whole image."""

    region: str | None
    stage: str
    reason: str
    detail: str


@dataclass
class ChosenImages:
    """Counts of rows by reason, and images to show: keys, or names of images that got no key."""

    reasons: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)


def choose(tables: Sequence[Path], count: int, seed: int) -> ChosenImages:
    """Choose images from quarantines, spread as evenly over the reasons as possible.

    The choice depends on the images' names and the seed, not on the order of rows.

    Raises:
        DataError: a table is damaged, or is not a quarantine.
    """
    chosen = ChosenImages()
    nearest: dict[str, dict[str, str]] = {}
    for table in tables:
        for batch in _batches(table):
            for reason, name in zip(batch["reason"].to_pylist(), _names(batch).to_pylist(), strict=True):
                known = reason if reason in chosen.reasons or len(chosen.reasons) < _REASONS else OTHER
                chosen.reasons[known] += 1
                _offer(nearest.setdefault(known, {}), name, count, seed)
    queues = [sorted(hashes, key=hashes.__getitem__) for _, hashes in sorted(nearest.items())]
    for turn in range(count):
        for queue in queues:
            if turn < len(queue) and len(chosen.names) < count and queue[turn] not in chosen.names:
                chosen.names.append(queue[turn])
    return chosen


def _offer(smallest: dict[str, str], name: str, count: int, seed: int) -> None:
    """Keep the `count` names with the smallest hashes."""
    if name in smallest or not count:
        return
    smallest[name] = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    if len(smallest) > count:
        del smallest[max(smallest, key=smallest.__getitem__)]


def collect(tables: Sequence[Path], names: Collection[str]) -> dict[str, list[Fault]]:
    """Collect the rows of quarantines about some images, at most a hundred of each.

    Raises:
        DataError: a table is damaged, or is not a quarantine.
    """
    faults_of: dict[str, list[Fault]] = {}
    wanted = pa.array(sorted(names), pa.string())
    for table in tables:
        for batch in _batches(table):
            told = batch.append_column("name", _names(batch))
            for row in told.filter(pc.is_in(told["name"], value_set=wanted)).to_pylist():
                faults = faults_of.setdefault(row["name"], [])
                if len(faults) < _FAULTS:
                    faults.append(_fault(row))
                elif len(faults) == _FAULTS:
                    faults.append(Fault(None, "", "(more)", _MORE))
    return faults_of


def _fault(row: dict[str, str | None]) -> Fault:
    return Fault(row.get("region_id"), row.get("stage") or "", row["reason"] or "", _cut(row.get("detail") or ""))


@dataclass(frozen=True)
class RejectedAnswer:
    """An annotator's answer that a rule refused.

    Without `box` it is about the whole image; without `text` it is the region itself.
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
    """Count the rows of `rejected.parquet` by reason, and collect those of some images, at most a hundred of each.

    Raises:
        DataError: the table is damaged or another one.
    """
    reasons: Counter[str] = Counter()
    answers_of: dict[str, list[RejectedAnswer]] = {}
    wanted = pa.array(sorted(names), pa.string())
    with explained(table), pq.ParquetFile(table) as file:
        for batch in file.iter_batches(_BATCH):
            for entry in batch["reason"].value_counts().to_pylist():
                known = entry["values"] in reasons or len(reasons) < _REASONS
                reasons[entry["values"] if known else OTHER] += entry["counts"]
            for row in batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pylist():
                rows = answers_of.setdefault(row["key"], [])
                if len(rows) < _FAULTS:
                    rows.append(_rejected(row))
                elif len(rows) == _FAULTS:
                    rows.append(RejectedAnswer("", "(more)", None, None, None, None, None, _MORE))
    return reasons, answers_of


def _rejected(row: dict[str, Any]) -> RejectedAnswer:
    sides = [row[side] for side in ("x0", "y0", "x1", "y1")]
    box = None if None in sides else [round(side, 2) for side in sides]
    score = None if row["score"] is None else round(row["score"], 4)
    text = None if row["text"] is None else _cut(row["text"])
    answer = (text, score, row["source"], row["region_id"], box)
    return RejectedAnswer(row["role"] or "", row["reason"] or "", *answer, _cut(row["detail"] or ""))


def _cut(text: str) -> str:
    return text if len(text) <= _CHARS else f"{text[:_CHARS]} … ({len(text)} characters)"


def shards_of(table: Path, names: Collection[str]) -> dict[str, str]:
    """Look up the shards of images by key in a dataset's `images.parquet`.

    Raises:
        DataError: the table is damaged.
    """
    wanted = pa.array(sorted(names), pa.string())
    shards: dict[str, str] = {}
    with explained(table), pq.ParquetFile(table) as file:
        for batch in file.iter_batches(_BATCH, columns=["key", "shard"]):
            rows = batch.filter(pc.is_in(batch["key"], value_set=wanted))
            shards.update(zip(rows["key"].to_pylist(), rows["shard"].to_pylist(), strict=True))
    return shards


def names_of(table: Path, keys: Collection[str]) -> dict[str, str]:
    """Look up what images were called in their source by key, in an import's `images.parquet`; others have no names.

    Raises:
        DataError: the table is damaged.
    """
    wanted = pa.array(sorted(keys), pa.string())
    names: dict[str, str] = {}
    with explained(table), pq.ParquetFile(table) as file:
        if "name" not in file.schema_arrow.names:
            return {}
        for batch in file.iter_batches(_BATCH, columns=["key", "name"]):
            rows = batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pylist()
            names.update((row["key"], row["name"]) for row in rows if row["name"] is not None)
    return names


def table_of(dataset: Place, name: str, scratch: Path) -> Path | None:
    """Return a dataset's table as a local file; None if it has none, or if it is too large to be copied from S3."""
    if isinstance(dataset, Folder):
        return dataset.path / name if dataset.exists(name) else None
    if not dataset.exists(name):
        return None
    copy, copied = scratch / name, 0
    with dataset.open(name) as stream, copy.open("wb") as target:
        while piece := stream.read(_PIECE):
            copied += target.write(piece)
            if copied > TABLE_BYTES:
                break
    if copied > TABLE_BYTES:
        copy.unlink()
        return None
    return copy


def _batches(table: Path) -> Iterator[pa.RecordBatch]:
    with explained(table), pq.ParquetFile(table) as file:
        missing = {"key", "reason"} - set(file.schema_arrow.names)
        if missing:
            raise DataError(f"{table}: expected a quarantine with key and reason, got no column {sorted(missing)[0]!r}")
        for batch in file.iter_batches(_BATCH):
            columns = {name: batch[name].cast(pa.string()) for name in batch.schema.names}
            columns["reason"] = columns["reason"].fill_null("")
            yield pa.RecordBatch.from_pydict(columns)


def _names(batch: pa.RecordBatch) -> pa.Array:
    """Return the name of each row's image: its key, or its name in the source if it got no key."""
    names = [batch["key"], *([batch["shard"]] if "shard" in batch.schema.names else [])]
    return pc.coalesce(*names, pa.scalar(_NAMELESS))


@contextmanager
def explained(table: Path) -> Iterator[None]:
    """Raise what pyarrow says of a damaged table as a DataError."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, OSError, KeyError) as error:
        raise DataError(f"{table}: not a readable table ({type(error).__name__}: {error})") from error
