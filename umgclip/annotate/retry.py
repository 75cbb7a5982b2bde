"""Marks of finished shards, kept beside a finished result so that its failed samples can be tried again."""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.annotate.job import Job
from umgclip.annotate.output import TABLES, Entry, write_marker, write_table
from umgclip.errors import DataError, InputError
from umgclip.io.manifest import read_manifest
from umgclip.io.shards import read_samples

_MOST_BYTES = 1 << 32


def path_for(out: Path) -> Path:
    """The file of marks; beside the folder, because they tell timings, which its content must not depend on."""
    return out.parent / f".{out.name}-markers.json"


def table(job: Job, name: str, sha256: str) -> io.BytesIO:
    """A shard's table, wherever it is.

    Raises:
        DataError: there is none, or another one.
    """
    content = job.out.read(job.table_name(name), _MOST_BYTES)
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(
            f"{job.out}/{job.table_name(name)}: expected sha256 {sha256} as in {job.marker_name}, got {found}; delete "
            "that one, and the shard is done again"
        )
    return io.BytesIO(content)


def restore(out: Path, markers: Path, config: str, jobs: Mapping[str, Sequence[Job]]) -> None:
    """Take a finished result apart again: tars, tables and marks of every shard, as before they were joined.

    Args:
        out: the result.
        markers: what `path_for` names.
        config: of the run that is to go on.
        jobs: by split, with the places where the parts go.

    Raises:
        InputError: there is no result of this configuration.
    """
    found = json.loads(markers.read_text(encoding="utf-8")) if markers.is_file() else {}
    if found.get("config") != config or not out.is_dir():
        raise InputError(
            f"--retry-failed: expected results of the same params, data and code in {out} or beside it, found "
            f"{'those of others' if found else 'none'}; run without it first"
        )
    for split, own in jobs.items():
        written = {shard.path: shard.sha256 for shard in read_manifest(out / split).shards}
        marks = [found[split][job.name] for job in own]
        for job, mark in zip(own, marks, strict=True):
            if written.get(job.name) != mark["sha256"]:
                raise InputError(f"--retry-failed: {out / split / job.name}: expected sha256 {mark['sha256']}")
            job.out.put(out / split / job.name, job.name)
        for name, schema in TABLES.items():
            parts = _slices(out / split / f"{name}.parquet", [_rows(name, mark) for mark in marks])
            for job, mark, part in zip(own, marks, parts, strict=True):
                mark["tables"][name] = write_table(job, name, part.cast(schema))
        for job, mark in zip(own, marks, strict=True):
            write_marker(job, mark)


def _rows(name: str, mark: Mapping[str, Any]) -> int:
    """Of a table, by a shard's mark."""
    counts = {"images": "samples", "regions": "regions", "quarantine": "failed"}
    return int(mark[counts[name]]) if name in counts else sum(mark["rejected"].values())


def _slices(path: Path, counts: Sequence[int]) -> Iterator[pa.Table]:
    """A table in parts of so many rows, little of it in memory."""
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches()
        waiting = file.schema_arrow.empty_table()
        for count in counts:
            while waiting.num_rows < count:
                waiting = pa.concat_tables([waiting, pa.Table.from_batches([next(batches)])])
            yield waiting.slice(0, count)
            waiting = waiting.slice(count)


_MOST_BYTES = 1 << 32


@dataclass(frozen=True)
class Previous:
    """The samples that did not fail, in their order, with their rows."""

    job: Job
    rows: dict[str, dict[str, list[dict[str, Any]]]]

    @classmethod
    def of(cls, job: Job) -> Previous:
        """Read the tables.

        Raises:
            DataError: one of them is missing.
        """
        rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name in TABLES:
            if name == "quarantine":
                continue
            table = pq.read_table(io.BytesIO(job.out.read(job.table_name(name), _MOST_BYTES)))
            for row in table.to_pylist():
                if name == "images" or row["key"] in rows:
                    rows.setdefault(row["key"], defaultdict(list))[name].append(row)
        return cls(job, rows)

    @property
    def keys(self) -> Collection[str]:
        """Of the samples that are kept."""
        return self.rows.keys()

    def entries(self) -> Iterator[Entry]:
        """What is stored of each, in order.

        Raises:
            DataError: the tar is not the one of the tables.
        """
        with self.job.out.open(self.job.name) as stream:
            for raw, key in zip(read_samples(stream, self.job.name), self.rows, strict=True):
                if raw.key != key or raw.embeddings is None:
                    raise DataError(f"{self.job.out}/{self.job.name}: expected sample {key!r}, got {raw.key!r}")
                yield Entry(raw.json, raw.embeddings, {"regions": [], "rejected": [], **self.rows[key]})
