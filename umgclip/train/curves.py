"""Losses per step on disk as they come, so that a resumed run has the curve of all its steps."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from umgclip.io.atomic import sha256_json


class Curves:
    """A CSV file with a row a step; rows of another run, by `belongs_to`, are not kept."""

    def __init__(self, path: Path, belongs_to: dict[str, Any]) -> None:
        self._path = path
        self._rows: dict[int, dict[str, float]] = {}
        header = f"# {sha256_json(belongs_to)}"
        if path.is_file() and path.read_text(encoding="utf-8").startswith(header):
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
            for row in csv.DictReader(line for line in lines if line.count(",") == lines[0].count(",")):
                self._rows[int(row["step"])] = {k: float(v) for k, v in row.items() if k != "step"}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._file.write(header + "\n")
        self._columns: list[str] = []
        kept, self._rows = self._rows, {}
        for step, values in kept.items():
            self.add(step, values)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write a row; one of the same step is replaced."""
        if not self._columns:
            self._columns = ["step", *(name for name in values if name != "images_per_s")]
            self._file.write(",".join(self._columns) + "\n")
        self._rows[step] = values
        self._file.write(",".join([str(step), *(f"{values[c]:.6g}" for c in self._columns[1:])]) + "\n")
        self._file.flush()

    def text(self) -> str:
        """All rows in order, without what depends on the machine."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for step in sorted(self._rows):
            rounded = {name: f"{value:.6g}" for name, value in self._rows[step].items()}
            writer.writerow({"step": step, **rounded})
        return buffer.getvalue()

    def remove(self) -> None:
        """Training is complete and written elsewhere."""
        self._file.close()
        self._path.unlink(missing_ok=True)
