"""Reader of the flat tables of an annotated dataset: columns checked by name and type, rows in chunks, no nesting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.errors import DataError

Kind = Literal["text", "number", "flag"]

IMAGE_COLUMNS: Mapping[str, Kind] = {
    "key": "text",
    "sha256": "text",
    "width": "number",
    "height": "number",
    "caption": "text",
    "caption_score": "number",
    "caption_source": "text",
    "tags": "text",
    "tag_score_min": "number",
}
REGION_COLUMNS: Mapping[str, Kind] = {
    "key": "text",
    "region_id": "text",
    "width": "number",
    "height": "number",
    "x0": "number",
    "y0": "number",
    "x1": "number",
    "y1": "number",
    "score": "number",
    "is_stuff": "flag",
    "labelled": "flag",
    "label": "text",
    "label_score": "number",
    "caption": "text",
    "caption_score": "number",
    "has_mask": "flag",
    "mask_area": "number",
    "mask_x0": "number",
    "mask_y0": "number",
    "mask_x1": "number",
    "mask_y1": "number",
    "negative_fault": "text",
}
QUARANTINE_COLUMNS: Mapping[str, Kind] = {"key": "text", "region_id": "text", "reason": "text"}


class ColumnTable:
    """One parquet file as columns of known kinds.

    Attributes:
        path: the file.
        rows: rows in it.
        problems: what is wrong with a wanted column, by its name; empty if all are there with the right type.
    """

    def __init__(self, path: Path, columns: Mapping[str, Kind], *, may_be_empty: bool = False) -> None:
        """Read the file's footer, and check rows and columns.

        Raises:
            DataError: there is no file, it is damaged, or it has no rows.
        """
        self.path = path
        self._columns = columns
        if not path.is_file():
            raise DataError(f"{path}: expected a table of the annotate stage, found none; `umgclip annotate` writes it")
        with _explained(path), pq.ParquetFile(path) as file:
            self.rows = file.metadata.num_rows
            schema = file.schema_arrow
        if self.rows == 0 and not may_be_empty:
            raise DataError(f"{path}: expected at least one row, the table is empty")
        problems = {name: _problem(schema, name, kind) for name, kind in columns.items()}
        self.problems: dict[str, str] = {name: f"{path}: {text}" for name, text in problems.items() if text}

    def chunks(self, rows: int, columns: tuple[str, ...] | None = None) -> Iterator[pd.DataFrame]:
        """Yield the usable columns, at most `rows` rows at a time, in file order; numbers and flags as float64.

        Args:
            rows: at most, of a frame.
            columns: those to read; None: all.

        Raises:
            DataError: the file is damaged.
        """
        with _explained(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=self._usable(columns or self._columns)):
                yield self._frame(pa.Table.from_batches([batch]))

    def whole(self, *columns: str) -> pd.DataFrame:
        """Read the usable ones of these columns with all rows at once.

        Raises:
            DataError: the file is damaged.
        """
        with _explained(self.path), pq.ParquetFile(self.path) as file:
            return self._frame(file.read(columns=self._usable(columns)))

    def _usable(self, columns: Mapping[str, Kind] | tuple[str, ...]) -> list[str]:
        return [name for name in columns if name not in self.problems]

    def _frame(self, table: pa.Table) -> pd.DataFrame:
        kinds = {"text": pa.string(), "number": pa.float64(), "flag": pa.float64()}
        columns = {n: _cast(table.column(n), kinds[self._columns[n]]).to_pandas() for n in table.column_names}
        return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(kind, safe=False)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _problem(schema: pa.Schema, name: str, kind: Kind) -> str | None:
    index = schema.get_field_index(name)
    if index < 0:
        return f"column {name!r} is missing"
    came = schema.field(index).type
    fits: Mapping[Kind, Callable[[pa.DataType], bool]] = {
        "text": _is_text,
        "number": _is_number,
        "flag": pa.types.is_boolean,
    }
    # A column of nulls only is written without a type: it fits any kind.
    if pa.types.is_null(came) or fits[kind](came):
        return None
    return f"column {name!r}: expected {kind}, got {came}"


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise DataError(f"{path}: not a readable parquet table ({type(error).__name__}: {error})") from error
