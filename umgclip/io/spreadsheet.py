"""CSV files that spreadsheets open: what is a text there stays one, and is never run as a formula."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def cell(value: object) -> object:
    """Return a value that is safe in a CSV file: a text that a spreadsheet would run as a formula gets a `'` prefix.

    The rule is OWASP's, against CSV injection. Numbers are no texts and stay as they are.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_STARTS) else value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table whose texts came from data: class names, captions, file names."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([cell(name) for name in header])
        writer.writerows([cell(value) for value in row] for row in rows)
