"""Tables for the terminal that print data as plain text: no escape sequence and no markup in it takes effect.

A class may be called `[/b]`, a caption may hold escape sequences, a file's name a character that reverses the text
after it. All output goes through this module, or through `lines`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from umgclip.cli.habits import output
from umgclip.cli.habits.progress import PULSE
from umgclip.safe_text import printable, without_secrets

_PAGES = (".html", ".md", ".csv", ".json", ".jsonl", ".parquet", ".txt", ".png", ".jpg", ".svg")
_LONGEST_PATH = 1000


def plain(text: str, style: str = "") -> Text:
    """Return a text without markup, control sequences and secrets in URLs; line breaks stay."""
    return Text(printable(without_secrets(text), lines=True), style=style)


def linked(text: str) -> Text:
    """Return a plain text; where it is the path of a file or folder that exists, terminals can open it with a click."""
    shown = plain(text)
    path = Path(text) if 0 < len(text) < _LONGEST_PATH and "\n" not in text and "\0" not in text else None
    if path is None or (os.sep not in text and path.suffix not in _PAGES):
        return shown
    try:
        if path.exists():
            shown.stylize(Style(link=path.resolve().as_uri()))
    except OSError:  # a part of it is no folder, or the name is too long
        pass
    return shown


class Sheet(Table):
    """A rich table whose titles and cells are plain texts.

    Attributes:
        texts: the cells of each row as texts, for a document in place of the table.
    """

    def __init__(self, *columns: str, title: str | None = None, show_header: bool = True) -> None:
        super().__init__(
            *columns,
            title=None if title is None else plain(title, "italic"),
            title_justify="left",
            show_header=show_header,
        )
        self.texts: list[tuple[str, ...]] = []

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Add a column with a plain header."""
        super().add_column(plain(header) if isinstance(header, str) else header, *args, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Add a row of plain cells; paths can be clicked where the terminal allows it."""
        self.texts.append(tuple(str(cell) for cell in cells))
        super().add_row(*(linked(cell) if isinstance(cell, str) else cell for cell in cells), **options)

    def as_document(self) -> dict[str, Any]:
        """Return the table for JSON: its title, and its rows by the columns' names, or as lists if they have none."""
        names = [str(column.header).strip().replace(" ", "_") for column in self.columns]
        rows: list[Any] = [list(row) for row in self.texts]
        if all(names) and self.show_header:
            rows = [dict(zip(names, row, strict=False)) for row in self.texts]
        return {"title": None if self.title is None else str(self.title), "rows": rows}


def show(*sheets: Sheet, least_width: int = 0, document: Mapping[str, Any] | None = None) -> None:
    """Print tables on stdout; a file, a pipe or a log, which have no width, gets at least `least_width` columns.

    Args:
        sheets: the tables.
        least_width: columns of a table where there is no terminal.
        document: the same result for `--json`; without it, the cells of the tables.
    """
    if output.current().as_json:
        for each in [document] if document is not None else [sheet.as_document() for sheet in sheets]:
            output.add(each)
        return
    PULSE.clear()
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, least_width)
    for sheet in sheets:
        for column in sheet.columns:
            column.overflow = "fold"  # rich would cut long words such as paths and calls
        console.print(sheet)


def remark(text: str) -> None:
    """Print a line that belongs to the tables above it on stdout; the document of `--json` says it in its own way."""
    if not output.current().as_json:
        from umgclip.cli.lines import say

        say(text, as_result=True)


def write(text: str, document: Mapping[str, Any]) -> None:
    """Print a result that is no table on stdout, or its document with `--json`."""
    if output.current().as_json:
        output.add(document)
        return
    from umgclip.cli.lines import say

    say(text, as_result=True)
