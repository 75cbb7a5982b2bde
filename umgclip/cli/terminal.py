"""Tables for the terminal that print data as plain text: no escape sequence and no markup in it takes effect.

A class may be called `[/b]`, a caption may hold escape sequences, a file's name a character that reverses the text
after it. All output goes through this module, or through `lines`.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from umgclip.safe_text import printable, without_secrets


def plain(text: str, style: str = "") -> Text:
    """Return a text without markup, control sequences and secrets in URLs; line breaks stay."""
    return Text(printable(without_secrets(text), lines=True), style=style)


class Sheet(Table):
    """A rich table whose titles and cells are plain texts."""

    def __init__(self, *columns: str, title: str | None = None, show_header: bool = True) -> None:
        super().__init__(
            *columns,
            title=None if title is None else plain(title, "italic"),
            title_justify="left",
            show_header=show_header,
        )

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Add a column with a plain header."""
        super().add_column(plain(header) if isinstance(header, str) else header, *args, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Add a row of plain cells."""
        super().add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def show(*sheets: Sheet, least_width: int = 0) -> None:
    """Print tables on stdout; a file, a pipe or a log, which have no width, gets at least `least_width` columns."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, least_width)
    for sheet in sheets:
        for column in sheet.columns:
            column.overflow = "fold"  # rich would cut long words such as paths and calls
        console.print(sheet)
