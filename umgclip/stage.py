"""What a stage says when it is done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """A title and rows of name and value, shown as a table by the command line."""

    title: str
    rows: tuple[tuple[str, str], ...]
