"""Tables as text, a row at a time: what is wrong with a row costs that row, and names its line.

Quotes follow RFC 4180. A quote that does not close, or that closes in the middle of a text, does not swallow the
lines after it: reading goes on with the next line. If tabs or bars separate the cells, such a line is read literally,
because those tables are mostly written without any quoting.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.texts import bounded_lines, is_text, open_text, printable

DELIMITERS = ("\t", "|", ";", ",")
_LITERAL = ("\t", "|")
_LONGEST_FIELD = 1 << 24
_LONGEST_LINE = 2 * _LONGEST_FIELD  # characters, also of the lines of a row together
_MOST_LINES = 200  # of one row
_SEP = "sep="  # Excel's line before the table


@dataclass(frozen=True)
class Row:
    """A row of a table: its cells, or why it cannot be read; `line` is where it begins, from 1."""

    line: int
    cells: list[str]
    broken: str | None = None


class _Lines:
    """The lines of a file, of which some may be given back."""

    def __init__(self, handle: TextIOWrapper) -> None:
        self._handle = handle
        self._waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.first = 1
        self._characters = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.taken) >= _MOST_LINES or self._characters > _LONGEST_LINE:  # to csv this is the end of the table
            raise StopIteration
        line = self._waiting.popleft() if self._waiting else next(bounded_lines(self._handle, _LONGEST_LINE), "")
        if not line:
            raise StopIteration
        self.taken.append(line)
        self._characters += len(line)
        return line

    def begin(self) -> None:
        """Start with another row."""
        self.first += len(self.taken)
        self.taken, self._characters = [], 0

    def keep_one(self) -> str:
        """Give back all lines of the row but the first."""
        self._waiting.extendleft(reversed(self.taken[1:]))
        self.taken = self.taken[:1]
        return self.taken[0]


def read_table(path: Path, wanted: Sequence[str], broken: Callable[[str, str], None]) -> Iterator[tuple[str, ...]]:
    """Read some columns of a comma-separated table.

    Args:
        path: a local file in UTF-8 or UTF-16.
        wanted: names of the columns.
        broken: told of rows that cannot be read: the line, what is wrong with it.

    Raises:
        InputError: it lacks one of the columns.
    """
    with open_text(path) as handle:
        names = [name.strip() for name in split(handle.readline(_LONGEST_LINE).lstrip("\ufeff"), ",")]
        if not set(wanted) <= set(names):
            got = printable(", ".join(names))[:200] or "an empty file"
            raise InputError(f"{path}: expected the columns {', '.join(wanted)}, got {got}")
        at = [names.index(name) for name in wanted]
        for row in read_rows(handle, ",", lambda cells: len(cells) == len(names)):
            what = row.broken
            if what is None and len(row.cells) != len(names):
                what = f"{len(row.cells)} cells: {','.join(row.cells)[:80]!r}"
            if what is not None:
                broken(f"{path.name}: line {row.line + 1}", f"expected a row of {len(names)} cells, got {what}")
            else:
                yield tuple(row.cells[column] for column in at)


def split(line: str, delimiter: str) -> list[str]:
    """Split a line into cells, with quotes where they are balanced, else literally."""
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True), [])
    except csv.Error:
        return _literal(line, delimiter)


def read_rows(handle: TextIOWrapper, delimiter: str, starts_row: Callable[[Sequence[str]], bool]) -> Iterator[Row]:
    """Yield the rows of a table from the file's current position; empty lines are skipped.

    Args:
        handle: the file, opened with its line ends as they are.
        delimiter: one of `DELIMITERS`.
        starts_row: whether the cells of a line that stands inside quotes are those of a row of its own: then the quotes
            were never meant to go on so far.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    lines = _Lines(handle)
    rows = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        lines.begin()
        broken = "a quote that does not close"
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            cells, broken = [], _reason(str(error), broken)
        else:
            if not any(starts_row(_literal(line, delimiter)) for line in lines.taken[1:]):
                if any(cell.strip() for cell in cells):
                    yield _checked(Row(lines.first, cells))
                continue
        line = lines.keep_one()
        if delimiter in _LITERAL:
            yield _checked(Row(lines.first, _literal(line, delimiter)))
        else:
            yield Row(lines.first, [], f"{broken}: {line.strip()[:80]!r}; quotes inside quotes are doubled")


def delimiter_of(line: str, fits: Callable[[Sequence[str]], bool]) -> str | None:
    """Return the delimiter that splits a first line into the expected cells; None if there is none."""
    if line.lower().startswith(_SEP):
        return line[len(_SEP) :][:1].strip("\r\n") or None
    return next((delimiter for delimiter in DELIMITERS if fits(split(line, delimiter))), None)


def _literal(line: str, delimiter: str) -> list[str]:
    return line.rstrip("\r\n").split(delimiter)


def _reason(error: str, unclosed: str) -> str:
    if "unexpected end" in error:
        return unclosed
    return "a quote inside a text" if "expected after" in error else error


def _checked(row: Row) -> Row:
    for cell in row.cells:
        if not is_text(cell):
            return Row(
                row.line,
                [],
                f"bytes that are no text: '{printable(cell)[:80]}'; --encoding names the right one, such as latin-1",
            )
        if "\0" in cell:
            return Row(row.line, [], f"a zero byte: {cell[:80]!r}")
    return row
