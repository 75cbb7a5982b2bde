"""Tables of captions: CSV and similar, Flickr's token files, parquet, JSON and JSON lines.

A row that is unreadable or empty costs only itself: it becomes a problem with the table's name and its line.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from umgclip.errors import DataError, InputError
from umgclip.io.delimited import Row, delimiter_of, read_rows, split
from umgclip.io.images import FORMAT_OF
from umgclip.io.json_stream import read_elements
from umgclip.io.parquet_rows import read_parquet_rows
from umgclip.io.texts import is_text, open_text, printable
from umgclip.literals import read_literal
from umgclip.safe_text import brief
from umgclip.sources.note import LONGEST_TEXT
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.source_files import extension_of

IMAGE_COLUMNS = (
    "file_name", "filename", "filepath", "file_path", "file", "image", "image_path", "image_name", "image_file", "img",
    "path", "name", "key", "image_id",
)  # fmt: skip
CAPTION_COLUMNS = ("caption", "captions", "text", "texts", "alt", "title", "description", "comment", "sentence", "raw")
_HEAD = 1 << 20  # most characters of the header line
SUFFIXES = (".csv", ".tsv", ".txt", ".token", ".parquet", ".pq", ".json", ".jsonl", ".ndjson")
_NUMBERED = re.compile(rf"(.+\.(?:{'|'.join(FORMAT_OF)}))#\d+", re.IGNORECASE)  # Flickr8k: a.jpg#0 to a.jpg#4
_EMPTY = "rows of the table with an empty caption"
_UNREAD_NAMED = 5


class Columns(NamedTuple):
    """Columns of images and captions: names, or positions from 1 for a table without header line."""

    image: str
    caption: str


class CaptionTable:
    """A table of captions that is read once, as a stream.

    Args:
        path: a local file.
        request: names of its columns and its encoding, where given.
        plan: receives problems and counts; knows which images exist.
    """

    def __init__(self, path: Path, request: Request, plan: ImportPlan) -> None:
        self._path, self._request, self._plan = path, request, plan
        self._known: dict[frozenset[str], Columns | None] = {}
        self._read = 0

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield image name and caption of every row that has both.

        Raises:
            InputError: it is not a table, or its columns were not found; the message names them.
            DataError: the file is damaged.
        """
        yield from self._rows(self._path.suffix.lower())
        if not self._read:
            self._plan.tell("tables without a row that can be read")

    def _rows(self, kind: str) -> Iterator[tuple[str, str]]:
        if kind in (".parquet", ".pq"):
            yield from self._parquet()
        elif kind in (".json", ".jsonl", ".ndjson"):
            yield from self._json()
        elif kind in (".csv", ".tsv", ".txt", ".token"):
            yield from self._delimited()
        else:
            expected = "a table as .csv, .tsv, .parquet, .json or .jsonl"
            raise InputError(f"{self._path}: expected {expected}, got {kind or 'no suffix'}")

    def _parquet(self) -> Iterator[tuple[str, str]]:
        chosen: list[Columns] = []

        def choose(schema: pa.Schema) -> Columns:
            chosen.append(self._columns(schema.names))
            self._check_types(schema, chosen[0])
            return chosen[0]

        for number, row in enumerate(read_parquet_rows(self._path, choose), 1):
            yield from self._captions(f"row {number}", row[chosen[0].image], row[chosen[0].caption])

    def _check_types(self, schema: pa.Schema, columns: Columns) -> None:
        of = schema.field(columns.image).type
        if pa.types.is_nested(of) or pa.types.is_binary(of):
            raise InputError(
                f"{self._path}: image_column: expected names of image files, got {columns.image} of type {of}; "
                "if the table holds the images themselves, write them to files first"
            )

    def _json(self) -> Iterator[tuple[str, str]]:
        number = 0
        for name, value in read_elements(self._path, self._broken, self._request.encoding):
            number += 1
            where = f"element {number}"
            if name == "annotations" and isinstance(value, dict) and "image_id" in value:
                raise InputError(
                    f"{self._path}: expected captions with the names of their images, got COCO's with numbers; "
                    f"`umgclip data import coco {shlex.quote(self._request.source)} "
                    f"--captions {shlex.quote(str(self._path))}` reads them"
                )
            if isinstance(value, dict) and value:
                columns = self._columns_of_object(value, named=bool(name))
                if columns is None:
                    self._broken(where, f"expected an image and a caption, got the fields {', '.join(value)[:200]}")
                    continue
                yield from self._captions(where, value.get(columns.image, name or None), value.get(columns.caption))
            elif name and isinstance(value, str):  # {"a.jpg": "a cat"}, {"a.jpg": ["a cat", "a tabby"]}
                yield from self._captions(where, name, value)
            else:
                self._broken(where, f"expected an object with an image and a caption, got {str(value)[:80]}")
        if number and not any(self._known.values()) and self._known:
            self._columns(sorted(next(iter(self._known))))

    def _columns_of_object(self, value: dict[str, Any], *, named: bool) -> Columns | None:
        """Return the columns of a JSON object; None if one is missing.

        An element of a named array may have no image.
        """
        names = frozenset(value)
        if names not in self._known:
            image = self._pick(list(value), self._request.image_column, IMAGE_COLUMNS)
            caption = self._pick(list(value), self._request.caption_column, CAPTION_COLUMNS)
            fits = caption is not None and (image is not None or named)
            self._known[names] = Columns(image or "", caption or "") if fits else None
            if fits:
                self._tell_unread([name for name in value if name not in (image, caption)], caption or "")
        return self._known[names]

    def _delimited(self) -> Iterator[tuple[str, str]]:
        try:
            with open_text(self._path, self._request.encoding) as handle:
                head, before = _first_line(handle)
                if "\0" in head or not is_text(head) or not head:
                    got = repr(printable(head[:80])) if head else "an empty file"
                    raise InputError(f"{self._path}: expected a line with the names of columns, got {got}")
                usual = "\t" if self._path.suffix.lower() == ".tsv" else ","
                delimiter = delimiter_of(head, self._fits) or usual
                if head.lower().startswith("sep="):
                    head, before = handle.readline(_HEAD), before + 1
                first = [cell.strip() for cell in split(head, delimiter)]
                while len(first) > 1 and not first[-1]:  # a delimiter at the end of the line
                    first.pop()
                yield from self._body(handle, first, delimiter, before)
        except UnicodeError as error:
            raise DataError(f"{self._path}: not a readable table: {error}") from error

    def _body(self, handle: TextIOWrapper, first: list[str], delimiter: str, before: int) -> Iterator[tuple[str, str]]:
        headed = not any(map(self._is_image, first)) or self._has_columns(first)
        names = first if headed else [str(number) for number in range(1, len(first) + 1)]
        columns = self._columns(names) if headed else self._positions(first, names)
        at = names.index(columns.image), names.index(columns.caption)

        def starts_row(cells: Sequence[str]) -> bool:
            return len(cells) >= len(names) and self._is_image(cells[at[0]].strip())

        rows = read_rows(handle, delimiter, starts_row)
        rows = chain([] if headed else [Row(0, first)], rows)
        for row in rows:
            line = f"line {row.line + before}"
            cells = row.cells
            while len(cells) > len(names) and not cells[-1].strip():  # a delimiter at the end of the line
                cells = cells[:-1]
            if row.broken:
                self._broken(line, f"expected a row of {len(names)} cells, got {row.broken}")
            elif len(cells) > len(names):
                self._broken(
                    line,
                    f"expected {len(names)} cells, got {len(cells)}: {delimiter.join(cells)[:80]!r}; "
                    f"put texts that contain {delimiter!r} in quotes",
                )
            elif len(cells) <= max(at):
                self._broken(line, f"expected {len(names)} cells, got {len(cells)}: {delimiter.join(cells)[:80]!r}")
            else:
                yield from self._captions(line, cells[at[0]], cells[at[1]])

    def _is_image(self, cell: str) -> bool:
        """Return whether a cell names an image file, by its extension or because there is such a file."""
        name = _unnumbered(cell)
        return bool(name) and (extension_of(name) in FORMAT_OF or bool(self._plan.find(name).names))

    def _fits(self, cells: Sequence[str]) -> bool:
        """Return whether these cells can be a first line: column names, or an image and its caption."""
        return self._has_columns(cells) or (len(cells) > 1 and any(self._is_image(cell.strip()) for cell in cells))

    def _has_columns(self, cells: Sequence[str]) -> bool:
        names = [cell.strip() for cell in cells]
        wanted = (self._request.image_column, IMAGE_COLUMNS), (self._request.caption_column, CAPTION_COLUMNS)
        return all(self._pick(names, asked, usual) is not None for asked, usual in wanted)

    def _positions(self, first: list[str], names: list[str]) -> Columns:
        """Return the columns of a table without header line: the one that names images, and the only other one."""
        image = self._request.image_column or names[next(n for n, cell in enumerate(first) if self._is_image(cell))]
        others = [name for name in names if name != image]
        caption = self._request.caption_column or (others[0] if len(others) == 1 else None)
        if image not in names or caption not in names:
            got = " | ".join(first)[:120]
            raise InputError(
                f"{self._path}: expected a first line with the names of columns, or an image and its caption a line, "
                f"got {got!r}; name them, or give positions from 1 as image_column and caption_column"
            )
        self._plan.tell("tables without a line of names")
        return Columns(image, caption)

    def _captions(self, where: str, name: Any, texts: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - what a cell held
        if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
            self._broken(where, f"expected the name of an image, got {str(name)[:80]!r}")
            return
        listed = texts if isinstance(texts, list) and texts else self._several(texts)
        for text in listed:
            if (
                text is None
                or (isinstance(text, str) and not text.strip())
                or (isinstance(text, float) and text != text)
            ):
                self._plan.tell(_EMPTY)
            elif not isinstance(text, str):
                self._broken(where, f"expected a caption as text, got {str(text)[:80]!r}")
            elif len(text) > LONGEST_TEXT:
                got = f"{len(text)}: {text[:80]!r}"
                self._broken(where, f"expected a caption of at most {LONGEST_TEXT} characters, got {got}")
            elif not is_text(text) or not is_text(str(name)):
                got = f"{printable(text)[:80]!r}; --encoding names the right one"
                self._broken(where, f"expected text, got other bytes: {got}")
            else:
                self._read += 1
                yield _unnumbered(str(name).strip()), text

    def _several(self, text: Any) -> list[Any]:  # noqa: ANN401 - what a cell held
        """Split a cell that holds a list of texts, written as JSON or in Python's notation."""
        if isinstance(text, str) and text.strip().startswith("[") and text.strip().endswith("]"):
            for read in (json.loads, read_literal):
                with suppress(ValueError, RecursionError, MemoryError):
                    listed = read(text.strip())
                    if isinstance(listed, list) and listed and all(isinstance(one, str) for one in listed):
                        self._plan.tell("cells of the table that hold a list of captions")
                        return listed
        return [text]

    def _broken(self, where: str, detail: str) -> None:
        self._plan.refuse_row(f"{self._path.name}: {where}", detail)

    def _columns(self, names: list[str]) -> Columns:
        chosen = []
        for what, asked, usual in (
            ("image_column", self._request.image_column, IMAGE_COLUMNS),
            ("caption_column", self._request.caption_column, CAPTION_COLUMNS),
        ):
            match = self._pick(names, asked, usual)
            if match is None and asked is not None:
                raise InputError(f"{self._path}: {what}: expected one of {', '.join(names)[:200]}, got {asked!r}")
            if match is None:
                raise InputError(
                    f"{self._path}: expected a column such as {', '.join(usual[:3])}, or {what}, "
                    f"got {brief(names, 200)}"
                )
            if names.count(match) > 1:
                raise InputError(
                    f"{self._path}: {what}: expected one column {match}, got {names.count(match)} of that name"
                )
            chosen.append(match)
        self._tell_unread([name for name in names if name not in chosen], chosen[1])
        return Columns(*chosen)

    def _tell_unread(self, names: list[str], caption: str) -> None:
        """Report the columns that are not read; those that could hold captions come first."""
        if not names:
            return
        likely = [name for name in names if name.strip().lower() in CAPTION_COLUMNS]
        if likely:
            self._plan.tell(f"caption columns beside {caption!r} that are not read ({', '.join(likely)})", len(likely))
        others = [name for name in names if name not in likely]
        if others:
            shown = ", ".join(name or "(no name)" for name in others[:_UNREAD_NAMED])
            self._plan.tell(
                f"columns that are not read ({shown}{', ...' * (len(others) > _UNREAD_NAMED)})", len(others)
            )

    @staticmethod
    def _pick(names: Sequence[str], asked: str | None, usual: Sequence[str]) -> str | None:
        """Return the requested column, or the first usual one that exists."""
        if asked is not None:
            return asked if asked in names else None
        lower = {name.strip().lower(): name for name in reversed(names)}
        return next((lower[name] for name in usual if name in lower), None)


def _first_line(handle: TextIOWrapper) -> tuple[str, int]:
    """Return the first line that is not empty, and its number; an empty text if there is none."""
    number, line = 0, "\n"
    while line and not line.strip("\ufeff \t\r\n"):
        number, line = number + 1, handle.readline(_HEAD)
    return line.lstrip("\ufeff"), number


def _unnumbered(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    return match[1] if match else name
