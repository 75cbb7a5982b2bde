"""The files of a source in SQLite: listed once, then searched by extension, path, folder or name."""

from __future__ import annotations

import hashlib
import itertools
import os
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator

from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Entry
from umgclip.sources.naming import FileNames, Match, tail_of

FILES_SCHEMA = """
CREATE TABLE files (
  name BLOB PRIMARY KEY, stem BLOB NOT NULL, nfc TEXT NOT NULL, tail TEXT NOT NULL, extension TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX stems ON files (stem);
CREATE INDEX nfcs ON files (nfc);
CREATE INDEX tails ON files (tail);
"""


class SourceFiles:
    """The table of a source's files; `ImportPlan` adds the images and everything about them.

    Args:
        db: an open database; a new one has the tables of `FILES_SCHEMA`.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._listed = 0

    def add_files(self, entries: Iterable[Entry]) -> None:
        """Add files of a listing, in any order, and their sizes and stamps to the digest."""
        self._db.executemany("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?)", map(self._file_row, entries))

    def _file_row(self, entry: Entry) -> tuple[bytes, bytes, str, str, str]:
        # a sum, so that the digest does not depend on the order of files
        mark = f"{entry.bytes} {entry.stamp} ".encode() + os.fsencode(entry.name)
        self._listed += int.from_bytes(hashlib.sha256(mark).digest(), "big")
        extension = extension_of(entry.name)
        stem = entry.name[: -len(extension) - 1] if extension else entry.name
        text = composed(entry.name)
        return os.fsencode(entry.name), os.fsencode(stem), text, tail_of(text), extension

    def other_files(self, extensions: Iterable[str]) -> dict[str, int]:
        """Count the files with any other extension, by extension."""
        wanted = set(extensions)
        counted = self._db.execute("SELECT extension, count(*) FROM files GROUP BY extension ORDER BY extension")
        return {f".{extension}": number for extension, number in counted if extension not in wanted}

    def beside(self, name: str, extensions: Iterable[str]) -> list[str]:
        """List files named like an image, with another extension or one more: `a.txt` and `a.jpg.txt` for `a.jpg`."""
        wanted = set(extensions)
        stem = name.rpartition(".")[0]
        rows = self._db.execute(
            "SELECT name, extension FROM files WHERE stem IN (?, ?) ORDER BY name",
            (os.fsencode(stem), os.fsencode(name)),
        )
        return [os.fsdecode(other) for other, extension in rows if extension in wanted]

    def file_names(self, extensions: Iterable[str]) -> Iterator[str]:
        """Yield the files with one of these extensions, sorted by name."""
        wanted = ", ".join(f"'{extension}'" for extension in sorted(extensions))
        rows = self._db.execute(f"SELECT name FROM files WHERE extension IN ({wanted}) ORDER BY name")  # noqa: S608
        return (os.fsdecode(name) for (name,) in rows)

    def has_extension(self, extension: str) -> bool:
        """Return whether any file has this extension."""
        return self._db.execute("SELECT 1 FROM files WHERE extension = ?", (extension,)).fetchone() is not None

    def has_file(self, name: str) -> bool:
        """Return whether there is a file at this path."""
        return self._db.execute("SELECT 1 FROM files WHERE name = ?", (os.fsencode(name),)).fetchone() is not None

    def has_folder(self, name: str) -> bool:
        """Return whether there are files below this path."""
        bounds = os.fsencode(f"{name}/"), os.fsencode(f"{name}0")  # 0 is the character after the slash
        return self._db.execute("SELECT 1 FROM files WHERE name > ? AND name < ?", bounds).fetchone() is not None

    def files_called(self, base: str) -> list[str]:
        """List files with this name in any folder and case; at most two."""
        begin = tail_of(composed(base))
        rows = self._db.execute(
            "SELECT name FROM files WHERE tail >= ? AND tail < ? ORDER BY tail LIMIT 2", (begin, begin + "\U0010ffff")
        )
        return [os.fsdecode(name) for (name,) in rows]

    def images_called(self, stem: str) -> int:
        """Count image files with this stem in any folder, case and format; at most 2."""
        begin = tail_of(composed(f"{stem}."))[:-1]
        wanted = ", ".join(f"'{extension}'" for extension in sorted(FORMAT_OF))
        rows = self._db.execute(
            f"SELECT nfc, extension FROM files WHERE tail >= ? AND tail < ? AND extension IN ({wanted})",  # noqa: S608
            (begin, f"{begin}\U0010ffff"),
        )
        same = (nfc for nfc, extension in rows if tail_of(nfc).partition("/")[0] == f"{begin}{extension}")
        return len(list(itertools.islice(same, 2)))

    def find(self, name: str) -> Match:
        """Find the image file that somebody else's file calls by this name."""
        return FileNames(self._db).find(name)


def extension_of(name: str) -> str:
    """Return the part of a file name after its last dot in lower case; empty if there is none."""
    base = name.rpartition("/")[2]
    return base.rpartition(".")[2].lower() if "." in base.lstrip(".") else ""


def is_hidden(name: str) -> bool:
    """Return whether a file or one of its folders starts with a dot, as files of operating systems do."""
    return name.startswith(".") or "/." in name or "__MACOSX/" in name


def composed(name: str) -> str:
    """Return a file name in Unicode's composed form (NFC); bytes that are not UTF-8 are replaced."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return unicodedata.normalize("NFC", text.removeprefix("./"))
