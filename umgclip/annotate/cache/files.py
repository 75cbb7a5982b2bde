"""Files of answers: one for each shard, role and model, in a folder or under an S3 prefix.

The name of a file holds the digest of what decides its answers. Other settings therefore have other files, and going
back to earlier settings finds the earlier answers.
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


class AnswerKey(NamedTuple):
    """The key of an answer: the sample's key (and the number of the text), and the digest of the role's inputs."""

    key: str
    inputs: str


class AnswerFile:
    """The answers of one role and model for one shard."""

    def __init__(self, store: Place, name: str) -> None:
        """Name the file; it is read when the first answer is looked up.

        Args:
            store: the store.
            name: name of the file in it.
        """
        self._store, self._name = store, name
        self._stored: tuple[Mapping[str, int], pa.Table] | None = None
        self._new: dict[str, tuple[str, Packed]] = {}

    def find(self, rows: Sequence[AnswerKey]) -> list[Packed] | None:
        """Return the answers of a whole batch, or None where one of them is missing.

        The model then computes the whole batch again, so that its results never depend on what was stored.
        """
        answers = [self._find(row) for row in rows]
        return [one for one in answers if one is not None] if all(one is not None for one in answers) else None

    def put(self, row: AnswerKey, answer: Packed) -> None:
        """Hold a new answer in memory until `write` stores it."""
        self._new[row.key] = row.inputs, answer

    def write(self) -> None:
        """Write the new answers and the stored ones of other samples, atomically."""
        if not self._new:
            return
        index, table = self._read()
        old = table.take(pa.array([at for key, at in index.items() if key not in self._new], pa.int64()))
        rows = [
            {"key": key, "inputs": inputs, "answer": packed.json, "arrays": packed.arrays}
            for key, (inputs, packed) in self._new.items()
        ]
        joined = pa.concat_tables([old, pa.Table.from_pylist(rows, schema=_SCHEMA)])
        with placed(self._store, self._name) as temporary:
            pq.write_table(joined, temporary, compression="zstd", write_page_checksum=True)
        self._stored, self._new = None, {}

    def _find(self, row: AnswerKey) -> Packed | None:
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
            # a missing or damaged file counts as empty
            with suppress(DataError, pa.ArrowException, OSError):
                table = _whole(io.BytesIO(self._store.read(self._name, _MOST_BYTES)))
                _touch(self._store, self._name)
            self._stored = {key: at for at, key in enumerate(table["key"].to_pylist())}, table
        return self._stored


def file_name(shard_sha256: str, view: str, role: str, model: str, identity: str) -> str:
    """Return the name of the file with a role's answers for a shard, as the job's `view` shows the shard."""
    return f"{shard_sha256[:2]}/{shard_sha256[:16]}.{view}/{role}.{model}.{identity[:16]}.parquet"


def prune(folder: Folder, most_bytes: int) -> int:
    """Delete the least recently used files until the rest fits, and return how many were deleted.

    Temporary files of killed workers are deleted after a day.
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
    total, deleted = 0, 0
    for _, size, path in files:
        total += size
        if total > most_bytes:
            path.unlink(missing_ok=True)
            deleted += 1
            with suppress(OSError):
                path.parent.rmdir()
    return deleted


def _whole(file: io.BytesIO) -> pa.Table:
    """Return the rows of a file; a damaged file raises an error or has none."""
    table = pq.read_table(file, schema=_SCHEMA, page_checksum_verification=True)
    return _SCHEMA.empty_table() if any(column.null_count for column in table.columns) else table


def _touch(store: Place, name: str) -> None:
    """Set the time at which a file was last used, for `prune`."""
    if isinstance(store, Folder):
        now = time.time()
        os.utime(store.path / name, (now, now))
