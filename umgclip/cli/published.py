"""`umgclip report --published`: our results beside those that papers published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from umgclip.cli import terminal
from umgclip.cli.report import evaluated
from umgclip.cli.terminal import Sheet
from umgclip.evaluate.report.published import Standing, read_marks, standings

_WIDTH = 120


def _document(every: Sequence[Standing]) -> dict[str, Any]:
    """Return the published marks and ours for `--json`: `same` by the same protocol, `other` by others."""
    groups = {"same": [one for one in every if not one.differs], "other": [one for one in every if one.differs]}
    return {name: [one.as_json() for one in group] for name, group in groups.items()}


def show_published(evaluation: Path) -> None:
    """Print published marks and ours: in one table by the same protocol, marks of other protocols in another.

    Raises:
        DataError: there is no evaluation, or the file is not one that `evaluate` writes.
    """
    every = list(standings(evaluated(evaluation), read_marks()))
    same = [one for one in every if one.differs is None]
    others = [one for one in every if one.differs is not None]
    terminal.show(_same(same), _other(others), least_width=_WIDTH, document=_document(every))


def _same(standing: Sequence[Standing]) -> Sheet:
    table = Sheet(title="The same protocol, shares of 1")
    for column in ("protocol", "model", "value", "source"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for one in standing:
        note = f" ({one.protocol.note})" if one.protocol.note else ""
        ours = [(f"ours, {model}", value, "this evaluation") for model, value in one.ours.items()]
        for row, (model, value, source) in enumerate([*ours, *one.marks]):
            table.add_row(one.protocol.words + note if row == 0 else "", model, f"{value:.3f}", source)
        table.add_section()
    if not standing:
        table.add_row("none: see what differs below", "", "", "")
    return table


def _other(standing: Sequence[Standing]) -> Sheet:
    table = Sheet(title="Other protocols, shares of 1: not comparable with ours")
    for column in ("protocol", "model", "published", "source"):
        table.add_column(column, justify="right" if column == "published" else "left")
    for one in standing:
        for row, mark in enumerate(one.marks):
            words = f"{one.protocol.words}; differs: {one.differs}" if row == 0 else ""
            table.add_row(words, mark.model, f"{mark.value:.3f}", mark.source)
        table.add_section()
    return table
