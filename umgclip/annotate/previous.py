"""What an earlier run wrote of a shard in which some samples failed."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from umgclip.annotate.job import Job
from umgclip.annotate.output import TABLES, Entry
from umgclip.errors import DataError
from umgclip.io.shards import read_samples

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
