"""Statistics of a dataset, from its tables, or from its shards if it has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from umgclip.io import tables
from umgclip.io.atomic import write_json
from umgclip.io.manifest import Manifest
from umgclip.io.places import Folder, Place
from umgclip.io.shard_source import ShardAt
from umgclip.records import stored_record
from umgclip.sources.importing.join import FinishedImport
from umgclip.sources.plan import ImportPlan

STATISTICS = "statistics.json"
_BATCH = 10_000
_LABELS_KEPT = 50_000  # most labels counted exactly; beyond that the rarest are dropped
_SHOWN = 50
_SIDES = (0, 64, 128, 224, 336, 448, 672, 1024, 2048, 4096)


@dataclass
class Statistics:
    """Counters over all samples of a dataset.

    `sums` hold numbers, `labels` things and stuff, `sides` the shorter sides.
    """

    sums: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    datasets: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    things: Counter[str] = field(default_factory=Counter)
    stuff: Counter[str] = field(default_factory=Counter)
    sides: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    smallest: int | None = None
    largest: int | None = None
    unknown: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    other_files: dict[str, int] = field(default_factory=dict)

    def images(self, batch: pa.RecordBatch) -> None:
        """Count a batch of rows of `images.parquet`."""
        if not batch.num_rows:
            return
        self.sums["images"] += batch.num_rows
        for name in ("n_captions", "n_tags", "n_regions", "n_stuff", "bytes"):
            if name in batch.schema.names:
                self.sums[name] += pc.sum(batch.column(name)).as_py() or 0
        for name, column in (("with_captions", "n_captions"), ("with_tags", "n_tags"), ("with_regions", "n_regions")):
            self.sums[name] += pc.sum(pc.greater(batch.column(column), 0)).as_py()
        self.sums["caption_words"] += sum(len(text.split()) for text in batch.column("caption").to_pylist() if text)
        for counter, column in ((self.formats, "format"), (self.datasets, "dataset")):
            if column in batch.schema.names:
                _count(counter, batch.column(column))
        _count(self.sources, batch.column("caption_source"))
        shorter = pc.min_element_wise(batch.column("width"), batch.column("height"))
        longer = pc.max_element_wise(batch.column("width"), batch.column("height"))
        low, high = pc.min(shorter).as_py(), pc.max(longer).as_py()
        self.smallest = low if self.smallest is None else min(self.smallest, low)
        self.largest = high if self.largest is None else max(self.largest, high)
        for bound in _SIDES:
            self.sides[bound] += pc.sum(pc.greater_equal(shorter, bound)).as_py()

    def regions(self, batch: pa.RecordBatch) -> None:
        """Count a batch of rows of `regions.parquet`."""
        if not batch.num_rows:
            return
        for name in ("labelled", "has_mask"):
            self.sums[name] += pc.sum(batch.column(name)).as_py() or 0
        self.sums["region_captions"] += batch.num_rows - batch.column("caption").null_count
        _count(self.things, batch.column("label").filter(pc.invert(batch.column("is_stuff"))))
        _count(self.stuff, batch.column("label").filter(batch.column("is_stuff")))

    def quarantine(self, batch: pa.RecordBatch) -> None:
        """Count a batch of rows of `quarantine.parquet` by reason."""
        _count(self.reasons, batch.column("reason"))

    def as_json(self) -> dict[str, Any]:
        """Return all counts as plain values, with only the 50 most frequent labels."""
        bounds = [*_SIDES, None]
        sides = {
            f"{low} to {high - 1}" if high else f"{low} and more": self.sides[low] - (self.sides[high] if high else 0)
            for low, high in zip(bounds[:-1], bounds[1:], strict=True)
            if low is not None
        }
        return {
            "counts": dict(sorted(self.sums.items())),
            "formats": dict(sorted(self.formats.items())),
            "datasets": dict(sorted(self.datasets.items())),
            "caption_sources": dict(sorted(self.sources.items())),
            "shorter_side_px": sides,
            "smallest_side_px": self.smallest,
            "largest_side_px": self.largest,
            "things": dict(_most(self.things)),
            "different_things": len(self.things),
            "stuff": dict(_most(self.stuff)),
            "different_stuff": len(self.stuff),
            "quarantine": dict(sorted(self.reasons.items())),
            "told": dict(sorted(self.told.items())),
            "not_understood": dict(sorted(self.unknown.items())),
            "other_files": dict(sorted(self.other_files.items())),
        }


def _most(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))[:_SHOWN]


def _count(counter: Counter[str], column: pa.Array) -> None:
    for entry in column.drop_null().value_counts().to_pylist():
        counter[entry["values"]] += entry["counts"]
    if len(counter) > 2 * _LABELS_KEPT:
        frequent = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))[:_LABELS_KEPT]
        counter.clear()
        counter.update(dict(frequent))


def write_statistics(finished: FinishedImport, plan: ImportPlan) -> Statistics:
    """Count a finished import, and write `statistics.json` beside its tables."""
    statistics = Statistics()
    _add_tables(statistics, finished.folder)
    statistics.sums["duplicates"] = finished.counts["duplicates"]
    statistics.sums["image_files"] = finished.counts["images"]
    statistics.sums["rewritten"] = finished.counts["rewritten"]
    statistics.unknown, statistics.told, statistics.other_files = (
        finished.unknown,
        finished.told,
        plan.fact("other_files") or {},
    )
    write_json(finished.folder / STATISTICS, statistics.as_json())
    return statistics


def _add_tables(statistics: Statistics, folder: Path) -> None:
    for name, add in (
        ("images", statistics.images),
        ("regions", statistics.regions),
        ("quarantine", statistics.quarantine),
    ):
        with pq.ParquetFile(folder / f"{name}.parquet") as table:
            for batch in table.iter_batches(_BATCH):
                add(batch)


def measure(dataset: Place, manifest: Manifest) -> Statistics:
    """Count the samples of a dataset that may have no tables, shard by shard."""
    statistics = Statistics()
    for info in manifest.shards:
        for batch, add in _shard_batches(ShardAt(dataset, info), statistics):
            add(batch)
    if isinstance(dataset, Folder) and (dataset.path / "quarantine.parquet").is_file():
        with pq.ParquetFile(dataset.path / "quarantine.parquet") as table:
            for batch in table.iter_batches(_BATCH):
                statistics.quarantine(batch)
    return statistics


def _shard_batches(stored: ShardAt, statistics: Statistics) -> Iterator[tuple[pa.RecordBatch, Any]]:
    images: list[dict[str, Any]] = []
    regions: list[dict[str, Any]] = []
    for raw in stored.samples():
        record = stored_record(raw.json, key=raw.key, where=f"{stored.info.path}:{raw.key}")
        about = {"format": raw.extension, "bytes": len(raw.image)}
        images.append({**tables.image_row(record, stored.info.path), **about})
        regions.extend(tables.region_row(record, region) for region in record.regions or [])
    yield _batch(images, tables.IMPORTED), statistics.images
    yield _batch(regions, tables.REGIONS), statistics.regions


def _batch(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=schema)
