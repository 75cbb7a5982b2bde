"""The LanceDB database of an index: its connection and tables, and LanceDB's errors in our words.

LanceDB works inside this process. It reads and writes a folder, or an S3 prefix with the `AWS_*` variables that
`umgclip.io.storage` reads, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from umgclip import extras
from umgclip.errors import DataError, InputError, OutputError, StorageError
from umgclip.io.atomic import disk_trouble
from umgclip.safe_text import without_secrets

ROWS, FAILED = "rows", "failed"
VECTOR = "vector"
_NEVER = timedelta(days=36500)  # `optimize` deletes nothing: readers may be at an older version
_GRACE = timedelta(hours=1)  # for searches that are under way
_CHUNK = 500  # values in one condition
_REMOTE = "s3://"


def require_lancedb() -> Any:  # noqa: ANN401 - a module that may be missing
    """Import LanceDB and return its module.

    Raises:
        InputError: it is not installed.
    """
    try:
        import lancedb
    except ImportError as error:
        raise InputError(f"search needs LanceDB, which is not installed; run: {extras.install('search')}") from error
    return lancedb


def connect(where: str | Path) -> Any:  # noqa: ANN401 - LanceDB is imported late
    """Open the database in a folder or under an S3 prefix; it need not exist.

    Raises:
        InputError: LanceDB is not installed.
        StorageError: S3 does not answer.
    """
    lancedb = require_lancedb()
    with explained(where):
        if not str(where).startswith(_REMOTE):
            return lancedb.connect(str(where))
        options = {}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
            options = {"aws_endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
        return lancedb.connect(str(where), storage_options=options)


def open_table(where: str | Path, name: str, schema: Any = None) -> Any:  # noqa: ANN401 - LanceDB is imported late
    """Open a table at its latest version; with a schema it is made where there is none.

    Raises:
        DataError: there is none, or it is damaged.
    """
    with explained(where):
        database = connect(where)
        if schema is None:
            return database.open_table(name)
        return database.create_table(name, schema=schema, exist_ok=True)


@contextmanager
def explained(where: str | Path) -> Iterator[None]:
    """Turn what LanceDB raises into our errors, with the place."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        text = without_secrets(" ".join(str(error).split()))[:300]
        if str(where).startswith(_REMOTE):
            raise StorageError(f"{where}: the object store does not answer as expected: {text}") from error
        if (trouble := disk_trouble(error)) is not None or "No space left" in text:
            raise OutputError(f"{where}: cannot be written: {trouble or 'the disk is full'}") from error
        raise DataError(
            f"{where}: the index cannot be read: {text}; delete it and run `umgclip index` again"
        ) from error


def scan(table: Any, columns: Sequence[str], where: str | None = None) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Yield rows that fulfil a condition, a batch at a time, so that a table of any length needs little memory."""
    query = table.search().select(list(columns))
    if where is not None:
        query = query.where(where)
    for batch in query.to_batches():
        yield from batch.to_pylist()


def quoted(value: str) -> str:
    """Return a text as a SQL literal: `it's` becomes `'it''s'`."""
    return "'" + value.replace("'", "''") + "'"


def conditions(column: str, values: Iterable[str]) -> Iterator[str]:
    """Yield conditions `column IN (...)` that together name all values, a few hundred in each."""
    listed = sorted(values)
    for start in range(0, len(listed), _CHUNK):
        yield f"{column} IN ({', '.join(map(quoted, listed[start : start + _CHUNK]))})"


def compact(table: Any) -> None:  # noqa: ANN401 - LanceDB is imported late
    """Join small files and extend the indices by new rows; older versions stay."""
    table.optimize(cleanup_older_than=_NEVER)


def clean(table: Any) -> None:  # noqa: ANN401 - LanceDB is imported late
    """Delete versions of a table older than an hour; a search that still reads one opens the index again."""
    table.optimize(cleanup_older_than=_GRACE)
