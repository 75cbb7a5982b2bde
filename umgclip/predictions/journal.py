"""The record of a prediction, a JSON line an image: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import atomic_file, explain_os_errors, sha256_json
from umgclip.predictions.inputs import UNNAMEABLE

LINES = "predictions.jsonl"
Line = dict[str, Any]


class PredictionJournal:
    """The file `predictions.jsonl` of an output folder, whose first line says how it was made.

    Args:
        folder: the output folder.
        made_by: everything that decides the predictions.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        self._path = folder / LINES
        self._made_by = dict(made_by)
        self._handle: BinaryIO | None = None
        self._at: dict[str, tuple[int, list[int], bool]] = {}
        self._lines = 0  # about images, with those of earlier tries

    def __enter__(self) -> PredictionJournal:
        """Open the file, or begin it; half a line at its end, of a process that was killed, is cut off.

        Raises:
            InputError: the folder holds something else, or predictions that were made in another way.
            OutputError: the folder cannot be written.
        """
        with explain_os_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():
                if names := sorted(entry.name for entry in self._path.parent.iterdir()):
                    raise InputError(
                        f"--out: expected a new or empty folder, or one of an earlier predict, found {names[0]} in "
                        f"{self._path.parent}; name another"
                    )
                self._path.write_bytes(_encoded({"made_by": self._made_by}))
            self._handle = self._path.open("r+b")
            try:
                self._read()
            except BaseException:
                self._handle.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._handle is not None:
            self._handle.close()

    @property
    def _file(self) -> BinaryIO:
        if self._handle is None:
            raise RuntimeError("the journal is not open")
        return self._handle

    def _read(self) -> None:
        at = 0
        for raw in self._file:
            line = _decoded(raw)
            if line is None:
                break
            if at == 0:
                self._check(line.get("made_by"))
            else:
                self._note(line, at)
            at += len(raw)
        if at == 0:
            raise DataError(f"{self._path}: expected the record of a predict, found another file; delete the folder")
        self._file.truncate(at)
        self._file.seek(at)

    def _check(self, earlier: Any) -> None:  # noqa: ANN401 - any JSON value
        if not isinstance(earlier, dict):
            raise DataError(f"{self._path}: expected the record of a predict, found another file; delete the folder")
        if sha256_json(earlier) != sha256_json(self._made_by):
            names = sorted({*earlier, *self._made_by})
            other = next(name for name in names if earlier.get(name) != self._made_by.get(name))
            raise InputError(
                f"--out: {self._path.parent} holds predictions that were not made with the same {other}; "
                "name another folder, or delete it"
            )

    def is_done(self, name: str, stamp: list[int]) -> bool:
        """Return whether an image has its predictions, and its file has not changed since."""
        known = self._at.get(name)
        return known is not None and not known[2] and known[1] == stamp

    def add(self, line: Line) -> None:
        """Append the line of an image; it is on the disk when this returns."""
        data = _encoded(line)
        at = self._file.seek(0, os.SEEK_END)
        with explain_os_errors(self._path):
            self._file.write(data)
            self._file.flush()
        self._note(line, at)

    def _note(self, line: Line, at: int) -> None:
        self._at[line["image"]] = at, line.get("stamp", []), "error" in line
        self._lines += 1

    def drop_earlier_tries(self) -> None:
        """Rewrite the file, if images have several lines, with the last line of each; whole or not at all."""
        if self._lines == len(self._at):
            return
        places: dict[str, tuple[int, list[int], bool]] = {}
        with self._path.open("rb") as earlier, atomic_file(self._path) as temporary, temporary.open("wb") as handle:
            handle.write(earlier.readline())
            for name, (at, stamp, failed) in sorted(self._at.items(), key=lambda item: item[1][0]):
                places[name] = handle.tell(), stamp, failed
                earlier.seek(at)
                handle.write(earlier.readline())
        self._file.close()
        self._handle = self._path.open("r+b")
        self._at, self._lines = places, len(places)

    def lines(self, names: list[str]) -> Iterator[Line]:
        """Yield the last line of each of these images, in their order, one at a time."""
        with self._path.open("rb") as handle:
            for name in names:
                if name in self._at:
                    handle.seek(self._at[name][0])
                    line = _decoded(handle.readline())
                    if line is None:
                        raise DataError(f"{self._path}: expected a line about {name}; the file was changed meanwhile")
                    yield line


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", UNNAMEABLE) + b"\n"


def _decoded(raw: bytes) -> Line | None:
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw.decode("utf-8", "surrogateescape"))  # as earlier versions wrote it
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
