"""Results of a device: stored as they come, and rendered as one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import TARGETS

FOLDER = Path(__file__).parents[1] / "results"
BEGIN, END = "<!-- gpu -->", "<!-- /gpu -->"
NONE = "**No GPU was measured yet.** The command above fills this table on a machine that has one."


def load(path: Path) -> dict[str, Any]:
    """Return the stored results of a device; nothing if there are none."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def store(path: Path, about: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Store what is known now, so that a run that ends goes on where it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def markdown(stored: Mapping[str, Any]) -> str:
    """Return the results of one device as a table; targets stand beside the figures that have one."""
    small = ", **tiny models: whether everything runs, not how fast**" if stored["small"] else ""
    lines = [
        f"{stored['device']}, torch {stored['torch']}, {stored['gpus']} GPUs, umgclip {stored['umgclip']}{small}.",
        "",
        "| measurement | figure | value | target |",
        "|---|---|---|---|",
    ]
    for name, row in stored["rows"].items():
        if "failed" in row:
            lines.append(f"| {name} | not measured: {_plain(row['failed'])} | | |")
            continue
        for number, (figure, value) in enumerate(row["figures"].items()):
            target = "" if stored["small"] else TARGETS.get(figure, "")
            label = figure.replace("_", " ")
            lines.append(f"| {name if number == 0 else ''} | {label} | {value:.4g} | {target} |")
    return "\n".join(lines)


def write(page: Path, devices: Iterable[Mapping[str, Any]]) -> None:
    """Replace the text between the markers of a page by the tables of all devices that were measured at real size.

    Raises:
        SystemExit: the page has no markers.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{page}: expected {BEGIN} and {END}, found no such markers; add them")
    tables = [markdown(one) for one in devices if one["gpus"] and not one["small"]]
    page.write_text("{}{}\n{}\n{}{}".format(before, BEGIN, "\n\n".join(tables) or NONE, END, after), encoding="utf-8")


def _plain(text: str) -> str:
    return text.replace("|", "/").replace("<", "&lt;")
