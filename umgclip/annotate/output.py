"""Write the results of a shard: the tar, its tables, and the marker, which comes last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.annotate.draft import Annotated
from umgclip.annotate.job import OWN_SHA256, Job
from umgclip.io import tables
from umgclip.io.atomic import sha256_file, sha256_json, write_json
from umgclip.io.places import placed
from umgclip.io.shards import RawSample, ShardWriter

TABLES: Mapping[str, pa.Schema] = {
    "images": tables.IMAGES,
    "regions": tables.REGIONS,
    "quarantine": tables.QUARANTINE,
    "rejected": tables.REJECTED,
}


@dataclass(frozen=True)
class SampleEntry:
    """A sample as it is stored, without its image: record, embeddings and rows of the tables."""

    json: bytes
    embeddings: bytes
    rows: Mapping[str, list[dict[str, Any]]]


def make_entry(annotated: Annotated, shard: str) -> SampleEntry:
    """Return what is stored of an annotated sample of a shard."""
    record, buffer = annotated.record, BytesIO()
    np.save(buffer, annotated.embeddings, allow_pickle=False)
    rows = {
        "images": [tables.image_row(record, shard)],
        "regions": [tables.region_row(record, region) for region in record.regions or []],
        "rejected": [one.row(record.key, shard) for one in annotated.rejected],
    }
    return SampleEntry(record.to_json(), buffer.getvalue(), rows)


@dataclass
class Output:
    """A shard that is being written; `tables` holds the SHA-256 of each table once it is written."""

    job: Job
    path: Path
    left_out: int = 0
    tables: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def __post_init__(self) -> None:
        self._writer = ShardWriter(self.path)

    def add(self, raw: RawSample, one: SampleEntry) -> None:
        """Append a sample with its original image file."""
        self._writer.write(RawSample(raw.key, raw.image, raw.extension, one.json, one.embeddings))
        for name, rows in one.rows.items():
            self.rows[name].extend(rows)

    def quarantine(self, key: str, reason: str, detail: str) -> None:
        """Record a sample that failed, with its reason, instead of writing it."""
        where = {"key": key, "shard": self.job.label, "region_id": None, "stage": "annotate"}
        self.rows["quarantine"].append({**where, "reason": reason, "detail": detail})

    @property
    def samples(self) -> int:
        """The number of samples that were written, failed or left out."""
        return len(self.rows["images"]) + len(self.rows["quarantine"]) + self.left_out

    def close(self) -> dict[str, Any]:
        """Close the tar, and return its counts and hash for the marker."""
        self._writer.close()
        return {
            "samples": len(self.rows["images"]),
            "failed": len(self.rows["quarantine"]),
            "reasons": _counted(self.rows["quarantine"]),
            "examples": _examples(self.rows["quarantine"]),
            "left_out": self.left_out,
            "regions": len(self.rows["regions"]),
            "rejected": _counted(self.rows["rejected"]),
            "sha256": self._writer.sha256,
            "bytes": self._writer.bytes,
        }


@contextmanager
def output(job: Job) -> Iterator[Output]:
    """Open a shard for writing; without an error, tar and tables get their final names at the end of the block.

    The caller writes the marker.
    """
    with placed(job.out, job.name) as temporary:
        writing = Output(job, temporary)
        yield writing
    for name, schema in TABLES.items():
        writing.tables[name] = write_table(job, name, pa.Table.from_pylist(writing.rows[name], schema=schema))


def write_table(job: Job, name: str, table: pa.Table) -> str:
    """Write one of the tables, and return its SHA-256."""
    with placed(job.out, job.table_name(name)) as temporary:
        pq.write_table(table, temporary)
        return sha256_file(temporary)


def write_marker(job: Job, value: Mapping[str, Any]) -> None:
    """Write the marker, which says that the shard is done."""
    with placed(job.out, job.marker_name) as temporary:
        write_json(temporary, {**value, OWN_SHA256: sha256_json(value)})


def _examples(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {row["reason"]: f"{row['key']}: {row['detail']}" for row in reversed(rows)}


def _counted(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return dict(sorted(Counter(row["reason"] for row in rows).items()))
