"""Retry the failed samples of a finished run, from the markers that are stored beside its result."""

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
from umgclip.annotate.output import TABLES, SampleEntry, write_marker, write_table
from umgclip.errors import DataError, InputError
from umgclip.io.manifest import read_manifest
from umgclip.io.shards import read_samples

_MOST_BYTES = 1 << 32


def path_for(out: Path) -> Path:
    """Return the path of the file of markers.

    It lies beside the result: markers hold timings, which the content of the result must not depend on.
    """
    return out.parent / f".{out.name}-markers.json"


def table(job: Job, name: str, sha256: str) -> io.BytesIO:
    """Read a shard's table from its folder or S3.

    Raises:
        DataError: there is no table, or its SHA-256 is another.
    """
    content = job.out.read(job.table_name(name), _MOST_BYTES)
    if (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(
            f"{job.out}/{job.table_name(name)}: expected sha256 {sha256} as in {job.marker_name}, got {actual}; "
            f"delete {job.marker_name} and run again to annotate the shard again"
        )
    return io.BytesIO(content)


def restore(out: Path, markers: Path, config: str, jobs: Mapping[str, Sequence[Job]]) -> None:
    """Split a finished result into the tars, tables and markers of its shards, as before they were joined.

    Args:
        out: the result.
        markers: the file that `path_for` names.
        config: digest of the run that is to be continued.
        jobs: jobs by split, with the folders where the parts go.

    Raises:
        InputError: there is no result of this configuration.
    """
    state = json.loads(markers.read_text(encoding="utf-8")) if markers.is_file() else {}
    if state.get("config") != config or not out.is_dir():
        raise InputError(
            f"--retry-failed: expected results of the same params, data and code in {out} or beside it, found "
            f"{'those of others' if state else 'none'}; run without it first"
        )
    for split, shards in jobs.items():
        written = {shard.path: shard.sha256 for shard in read_manifest(out / split).shards}
        marks = [state[split][job.name] for job in shards]
        for job, mark in zip(shards, marks, strict=True):
            if written.get(job.name) != mark["sha256"]:
                raise InputError(f"--retry-failed: {out / split / job.name}: expected sha256 {mark['sha256']}")
            job.out.put(out / split / job.name, job.name)
        for name, schema in TABLES.items():
            parts = _slices(out / split / f"{name}.parquet", [_rows(name, mark) for mark in marks])
            for job, mark, part in zip(shards, marks, parts, strict=True):
                mark["tables"][name] = write_table(job, name, part.cast(schema))
        for job, mark in zip(shards, marks, strict=True):
            write_marker(job, mark)


def _rows(name: str, mark: Mapping[str, Any]) -> int:
    """Return how many rows of a table belong to a shard, from its marker."""
    counts = {"images": "samples", "regions": "regions", "quarantine": "failed"}
    return int(mark[counts[name]]) if name in counts else sum(mark["rejected"].values())


def _slices(path: Path, counts: Sequence[int]) -> Iterator[pa.Table]:
    """Yield a table in parts of the given numbers of rows, with little of it in memory at a time."""
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches()
        waiting = file.schema_arrow.empty_table()
        for count in counts:
            while waiting.num_rows < count:
                waiting = pa.concat_tables([waiting, pa.Table.from_batches([next(batches)])])
            yield waiting.slice(0, count)
            waiting = waiting.slice(count)


@dataclass(frozen=True)
class Previous:
    """The samples of a shard that did not fail in an earlier run, in their order, with their table rows."""

    job: Job
    rows: dict[str, dict[str, list[dict[str, Any]]]]

    @classmethod
    def of(cls, job: Job) -> Previous:
        """Read the shard's tables from the earlier run.

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
        """The keys of the samples that stay as they are."""
        return self.rows.keys()

    def entries(self) -> Iterator[SampleEntry]:
        """Yield the stored annotations of each sample, in order.

        Raises:
            DataError: tar and tables do not belong together.
        """
        with self.job.out.open(self.job.name) as stream:
            for raw, key in zip(read_samples(stream, self.job.name), self.rows, strict=True):
                if raw.key != key or raw.embeddings is None:
                    raise DataError(f"{self.job.out}/{self.job.name}: expected sample {key!r}, got {raw.key!r}")
                yield SampleEntry(raw.json, raw.embeddings, {"regions": [], "rejected": [], **self.rows[key]})
