"""Rows of parquet files and of Arrow streams, in a folder or in S3, from any row on and a few at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.errors import DataError
from umgclip.io.parquet_rows import check_parquet
from umgclip.io.places import Folder, Place
from umgclip.safe_text import cause

TABLES = ("parquet", "arrow")
BATCH = 16  # rows in memory
_BUFFER = 1 << 20
_MAGIC, _CONTINUES = b"ARROW1", 0xFFFFFFFF
_DICTIONARY, _RECORDS = 2, 3  # types of messages
_MOST_ROWS, _MOST_HEADER = 1 << 22, 1 << 26
BROKEN = (pa.ArrowException, OSError, EOFError, ValueError, KeyError, struct.error, IndexError, MemoryError)


class RowChunk(NamedTuple):
    """Rows of a table that are stored together: a row group, or a record batch; and where the latter begins."""

    rows: int
    offset: int = 0


class RowTable:
    """An open table: its schema, its chunks, and their rows.

    Attributes:
        schema: as Arrow has it.
        chunks: in order.
        fault: what is wrong behind the last chunk; None: nothing.
    """

    schema: pa.Schema
    chunks: Sequence[RowChunk]
    fault: str | None = None

    def rows(self, chunk: int, first: int, count: int, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Yield some rows of a chunk, each with some columns.

        Raises:
            DataError: they cannot be read.
        """
        raise NotImplementedError


@contextmanager
def open_table(source: Place, name: str, chunks: Sequence[RowChunk] | None = None) -> Iterator[RowTable]:
    """Open a table of a source, to read its rows from anywhere.

    Args:
        source: the folder or S3 prefix.
        name: ends with .parquet or .arrow.
        chunks: as an earlier look at the table gave them; None: look again.

    Raises:
        DataError: there is none, or it is damaged.
    """
    where = f"{source}/{name}"
    with source.seekable(name) as handle:
        try:
            size = handle.seek(0, 2)
            handle.seek(0)
            if name.lower().endswith(".parquet"):
                table: RowTable = _Parquet(where, handle, size)
            else:
                table = _Arrow(where, handle, size, source.path / name if isinstance(source, Folder) else None, chunks)
        except BROKEN as error:
            raise DataError(f"{where}: not a readable table ({cause(error)})") from error
        yield table


class _Parquet(RowTable):
    """A parquet file; its chunks are row groups."""

    def __init__(self, where: str, handle: BufferedReader, size: int) -> None:
        self._where = where
        self._file = pq.ParquetFile(handle, pre_buffer=False, buffer_size=_BUFFER)
        self.schema = self._file.schema_arrow
        about = self._file.metadata
        check_parquet(where, size, self._file, self.schema.names)
        self.chunks = [RowChunk(about.row_group(n).num_rows) for n in range(about.num_row_groups)]

    def rows(self, chunk: int, first: int, count: int, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Yield some rows of a row group."""
        try:
            batches = self._file.iter_batches(BATCH, row_groups=[chunk], columns=list(columns), use_threads=False)
            for batch in batches:
                if first < batch.num_rows:
                    yield from batch.slice(first, count).to_pylist()
                    count -= min(count, batch.num_rows - first)
                first = max(0, first - batch.num_rows)
                if not count:
                    return
        except BROKEN as error:
            raise DataError(f"{self._where}: row group {chunk}: cannot be read ({cause(error)})") from error


class _Arrow(RowTable):
    """A stream of record batches, as `save_to_disk` writes it, or the same between the marks of Arrow's file."""

    def __init__(self, where: str, handle: BufferedReader, size: int, path: Any, chunks: Any) -> None:  # noqa: ANN401
        self._where = where
        start = 8 if handle.read(len(_MAGIC)) == _MAGIC else 0
        # a mapped file is not copied: of a record batch only the rows that are read are touched
        self._file = handle if path is None else pa.memory_map(str(path))
        self._file.seek(start)
        self.schema = pa.ipc.read_schema(pa.ipc.read_message(self._file))
        self.chunks = list(self._scan(handle, start, size)) if chunks is None else chunks

    def _scan(self, handle: BufferedReader, start: int, size: int) -> Iterator[RowChunk]:
        """Yield the record batches; only the heads of the messages are read."""
        offset = start
        while offset + 8 <= size:
            handle.seek(offset)
            marker, length = struct.unpack("<Ii", handle.read(8))
            if marker != _CONTINUES or not 0 <= length <= _MOST_HEADER:
                raise ValueError(f"expected a message of Arrow at byte {offset}")
            if length == 0:
                return
            kind, rows, body = _head(handle.read(length))
            if offset + 8 + length + body > size:
                break
            if kind == _DICTIONARY:
                raise ValueError("expected columns of plain values, got a dictionary")
            if kind == _RECORDS and not 0 <= rows <= _MOST_ROWS:
                raise ValueError(f"expected at most {_MOST_ROWS} rows in a record batch, got {rows}")
            if kind == _RECORDS:
                yield RowChunk(rows, offset)
            offset += 8 + length + body
        if offset != size:
            self.fault = f"expected the end of the stream, the file ends at byte {size}"

    def rows(self, chunk: int, first: int, count: int, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Yield some rows of a record batch."""
        try:
            self._file.seek(self.chunks[chunk].offset)
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(self._file), self.schema)
            batch = batch.select([name for name in columns if name in self.schema.names])
            batch.validate(full=True)
            for at in range(first, first + count, BATCH):
                yield from batch.slice(at, min(BATCH, first + count - at)).to_pylist()
        except BROKEN as error:
            raise DataError(f"{self._where}: record batch {chunk}: cannot be read ({cause(error)})") from error


def _head(data: bytes) -> tuple[int, int, int]:
    """Return type, rows and bytes of the body of a message, from its flatbuffer.

    Source: format/Message.fbs of Apache Arrow.
    """

    def at(form: str, where: int) -> int:
        value: int = struct.unpack_from(form, data, where)[0]
        return value

    def of(table: int, number: int) -> int | None:
        vtable = table - at("<i", table)
        end = at("<H", vtable)
        place = at("<H", vtable + 4 + 2 * number) if 4 + 2 * number < end else 0
        return table + place if place else None

    root = at("<I", 0)
    kind, header, body = of(root, 1), of(root, 2), of(root, 3)
    if kind is None or header is None:
        raise ValueError("expected a message of Arrow, got one without a head")
    length = of(header + at("<I", header), 0)
    size = at("<q", body) if body is not None else 0
    if size < 0:
        raise ValueError("expected a message of Arrow, got one of a negative size")
    return at("<B", kind), at("<q", length) if length is not None and at("<B", kind) == _RECORDS else 0, size
