"""Rows of parquet files that others made. Few bytes can stand for very many: a text once, and a billion times "again".

So the footer has to fit the file's size, texts stay what the file holds until their rows come, and a row has a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from umgclip.errors import DataError

_ROWS = 1024
_ROW_BYTES = 64 << 20
_VALUES, _VALUES_A_BYTE = 100_000, 100  # most values of a column: a constant, and so many for each byte of the file
_BYTES, _BYTES_A_BYTE = 64 << 20, 200  # the same of unpacked bytes
_TEXTS = ("STRING", "NONE", "JSON", "ENUM")


def read_parquet_rows(path: Path, choose: Callable[[pa.Schema], Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, with some columns of each.

    Args:
        path: a local file.
        choose: gives the names of the columns to read; may raise.

    Raises:
        DataError: the file is damaged, or holds far more than its size has room for.
    """
    try:
        with pq.ParquetFile(path) as table:
            columns = list(choose(table.schema_arrow))
            texts = check_parquet(path, path.stat().st_size, table, columns)
        with pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False) as table:
            for batch in table.iter_batches(_ROWS, columns=columns):
                yield from _rows(path, batch)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a readable parquet file: {error}") from error


def check_parquet(path: object, size: int, table: pq.ParquetFile, columns: Sequence[str]) -> list[str]:
    """Check what the footer says of columns, and return those parts of them that are texts.

    Args:
        path: of the file, for messages.
        size: of the file in bytes.
        table: the open file.
        columns: names of the columns that will be read.

    Raises:
        DataError: they hold far more than the file has room for.
    """
    about, schema = table.metadata, table.schema
    wanted = [n for n in range(len(schema)) if schema.column(n).path.partition(".")[0] in columns]
    for column in wanted:
        chunks = [about.row_group(group).column(column) for group in range(about.num_row_groups)]
        for what, got, most in (
            ("values", sum(chunk.num_values for chunk in chunks), _VALUES + _VALUES_A_BYTE * size),
            ("bytes", sum(chunk.total_uncompressed_size for chunk in chunks), _BYTES + _BYTES_A_BYTE * size),
        ):
            if got > most:
                raise DataError(
                    f"{path}: {schema.column(column).path}: expected at most {most} {what} of {size} bytes, got {got}"
                )
    return [
        schema.column(n).path
        for n in wanted
        if schema.column(n).physical_type == "BYTE_ARRAY" and schema.column(n).logical_type.type in _TEXTS
    ]


def _rows(path: Path, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch in pieces that fit into memory."""
    if not batch.num_rows:
        return
    if sum(map(_bytes, batch.columns)) <= _ROW_BYTES:
        yield from batch.to_pylist()
    elif batch.num_rows == 1:
        raise DataError(f"{path}: expected rows of at most {_ROW_BYTES} bytes, got one of more")
    else:
        half = batch.num_rows // 2
        yield from _rows(path, batch.slice(0, half))
        yield from _rows(path, batch.slice(half))


def _bytes(array: pa.Array) -> int:
    """Return the bytes of an array once each text is written out."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(array.dictionary).cast(pa.int64())
        return int(pc.sum(lengths.take(array.indices.drop_null())).as_py() or 0)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _bytes(array.flatten())
    if pa.types.is_struct(kind):
        return sum(map(_bytes, array.flatten()))
    return int(array.nbytes)
