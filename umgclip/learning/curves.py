"""Losses per step on disk as they come, so that a resumed run has the curve of all its steps."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from umgclip.io.atomic import sha256_json, write_bytes


class Curves:
    """A CSV file with a row a step; rows of another run, by `belongs_to`, are not kept.

    Nothing is touched before the first row: a run that is refused leaves the curve of the one that it found.
    """

    def __init__(self, path: Path, belongs_to: dict[str, Any]) -> None:
        self._path = path
        self._header = f"# {sha256_json(belongs_to)}"
        self._columns: list[str] = []
        self._rows: dict[int, dict[str, float]] = {}

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write a row; one of the same step is replaced."""
        if not self._columns:
            self._columns = ["step", *(name for name in values if name != "images_per_s")]
            self._rows = self._kept()
            lines = [self._header, ",".join(self._columns), *(self._line(n) for n in self._rows)]
            write_bytes(self._path, "".join(f"{line}\n" for line in lines).encode())
        self._rows[step] = values
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{self._line(step)}\n")

    def _kept(self) -> dict[int, dict[str, float]]:
        """Rows of the same run on disk; a line that was cut off is not one."""
        text = self._path.read_text(encoding="utf-8") if self._path.is_file() else ""
        if not text.startswith(self._header):
            return {}
        lines = [line for line in text.splitlines()[1:] if line.count(",") == len(self._columns) - 1]
        rows = csv.DictReader(lines)
        return {int(row["step"]): {k: float(v) for k, v in row.items() if k != "step"} for row in rows}

    def _line(self, step: int) -> str:
        return ",".join([str(step), *(f"{self._rows[step][name]:.6g}" for name in self._columns[1:])])

    def text(self) -> str:
        """Return all rows in order as CSV, without columns that depend on the machine."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for step in sorted(self._rows):
            rounded = {name: f"{value:.6g}" for name, value in self._rows[step].items()}
            writer.writerow({"step": step, **rounded})
        return buffer.getvalue()

    def remove(self) -> None:
        """Delete the file, because training is complete and its result is written."""
        self._path.unlink(missing_ok=True)
