"""Answers in files: one for each shard, role and model, in a folder or under an S3 prefix.

A file's name tells what decides its answers, so that another setting has a file of its own and going back to an earlier
one finds the earlier answers.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.annotate.cache.codec import Packed
from umgclip.errors import DataError
from umgclip.io.places import Folder, Place, placed

_SCHEMA = pa.schema(
    [("key", pa.string()), ("inputs", pa.string()), ("answer", pa.large_string()), ("arrays", pa.large_binary())]
)
_MOST_BYTES = 1 << 32
_DAY_S = 86400.0


class Row(NamedTuple):
    """Whose answer: the sample (and which of its texts), and the digest of what the role looked at."""

    key: str
    inputs: str


class AnswerFile:
    """One role's answers for one shard."""

    def __init__(self, place: Place, name: str) -> None:
        """Nothing is read yet.

        Args:
            place: the store.
            name: of the file in it.
        """
        self._place, self._name = place, name
        self._stored: tuple[Mapping[str, int], pa.Table] | None = None
        self._new: dict[str, tuple[str, Packed]] = {}

    def find(self, rows: Sequence[Row]) -> list[Packed] | None:
        """The answers of a whole batch, or None where one is missing: then all are to be asked for again.

        So what a model computes never depends on what was stored: it sees the batch that it would see without.
        """
        found = [self._find(row) for row in rows]
        return [one for one in found if one is not None] if all(one is not None for one in found) else None

    def put(self, row: Row, answer: Packed) -> None:
        """Keep an answer until `write`."""
        self._new[row.key] = row.inputs, answer

    def write(self) -> None:
        """Write what is new, and what was stored of other samples; whole or not at all."""
        if not self._new:
            return
        index, table = self._read()
        old = table.take(pa.array([at for key, at in index.items() if key not in self._new], pa.int64()))
        rows = [
            {"key": key, "inputs": inputs, "answer": packed.json, "arrays": packed.arrays}
            for key, (inputs, packed) in self._new.items()
        ]
        joined = pa.concat_tables([old, pa.Table.from_pylist(rows, schema=_SCHEMA)])
        with placed(self._place, self._name) as temporary:
            pq.write_table(joined, temporary, compression="zstd", write_page_checksum=True)
        self._stored, self._new = None, {}

    def _find(self, row: Row) -> Packed | None:
        if row.key in self._new:
            inputs, packed = self._new[row.key]
            return packed if inputs == row.inputs else None
        index, table = self._read()
        at = index.get(row.key)
        if at is None or table["inputs"][at].as_py() != row.inputs:
            return None
        return Packed(table["answer"][at].as_py(), table["arrays"][at].as_py())

    def _read(self) -> tuple[Mapping[str, int], pa.Table]:
        if self._stored is None:
            table = _SCHEMA.empty_table()
            # a file that is gone or was damaged is no answer
            with suppress(DataError, pa.ArrowException, OSError):
                table = _whole(io.BytesIO(self._place.read(self._name, _MOST_BYTES)))
                _touch(self._place, self._name)
            self._stored = {key: at for at, key in enumerate(table["key"].to_pylist())}, table
        return self._stored


def file_name(shard_sha256: str, view: str, role: str, model: str, identity: str) -> str:
    """Where a role's answers for a shard are; `view` tells apart what is hidden of the same shard."""
    return f"{shard_sha256[:2]}/{shard_sha256[:16]}.{view}/{role}.{model}.{identity[:16]}.parquet"


def prune(folder: Folder, most_bytes: int) -> int:
    """Delete the files that were not used for longest until the rest fits; gives how many.

    What killed workers had begun to write goes after a day.
    """
    if not folder.path.is_dir():
        return 0
    for begun in folder.path.rglob(".*.tmp"):
        with suppress(OSError):
            if time.time() - begun.stat().st_mtime > _DAY_S:
                begun.unlink()
    files = sorted(
        ((path.stat().st_mtime, path.stat().st_size, path) for path in folder.path.rglob("*.parquet")), reverse=True
    )
    kept, gone = 0, 0
    for _, size, path in files:
        kept += size
        if kept > most_bytes:
            path.unlink(missing_ok=True)
            gone += 1
            with suppress(OSError):
                path.parent.rmdir()
    return gone


def _whole(file: io.BytesIO) -> pa.Table:
    """A file's rows; those of a damaged one raise or are none."""
    table = pq.read_table(file, schema=_SCHEMA, page_checksum_verification=True)
    return _SCHEMA.empty_table() if any(column.null_count for column in table.columns) else table


def _touch(place: Place, name: str) -> None:
    """Remember when it was used last, for `prune`."""
    if isinstance(place, Folder):
        now = time.time()
        os.utime(place.path / name, (now, now))
