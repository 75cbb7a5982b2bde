"""The one way in which commands print tables: what data say never commands the terminal, and no text is read as markup.

A class may be called `[/b]`, a caption may hold escape sequences, a file's name a mark that turns what follows. Whoever
prints a text goes through here, or through `lines`.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from umgclip.safe_text import printable, without_secrets


def plain(text: str, style: str = "") -> Text:
    """A text as it is, with nothing in it that a terminal or rich obeys, and no keys of URLs; line breaks stay."""
    return Text(printable(without_secrets(text), lines=True), style=style)


class Sheet(Table):
    """A table of rich whose titles and cells are plain texts."""

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
    """Tables on stdout; so wide at least where nobody says how wide it is: a file, a pipe, a log."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, least_width)
    for sheet in sheets:
        for column in sheet.columns:
            column.overflow = "fold"  # rich would cut long words, paths and calls among them
        console.print(sheet)
