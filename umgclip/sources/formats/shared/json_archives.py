"""Archives of JSON files, one about each image, that are joined with images elsewhere by name.

The JSON files are listed in the plan: of a zip by its directory, so that each is read where it stands. A compressed tar
cannot be read at a place; it is read once, and its JSON goes deflated into a file beside the plan.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from umgclip.errors import DataError
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Folder
from umgclip.sources.formats.shared.tar_samples import is_hidden, read_members
from umgclip.sources.formats.shared.zips import ZipEntry, ZipError, read_entry, read_packed, zip_entries
from umgclip.sources.note import Problem, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.source_files import composed, extension_of

ARCHIVES = ("zip", "gz", "tgz")
MOST_BYTES = 64 << 20  # of one JSON file
_SCHEMA = """
CREATE TABLE archives (number INTEGER PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL, is_zip INTEGER NOT NULL);
CREATE TABLE jsons (
  stem TEXT NOT NULL, name TEXT NOT NULL, archive INTEGER NOT NULL,
  at INTEGER NOT NULL, packed INTEGER NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL, method INTEGER NOT NULL
);
"""
_MOST_FITTING = 1000  # JSON files of one name that are compared
_SEPARATORS = re.compile(r"[/\\]+")
_Row = tuple[str, str, int, int, int, int, int, int]


def is_archive(name: str) -> bool:
    """Return whether a file is named like an archive of JSON: .zip, .tar.gz or .tgz."""
    return name.lower().endswith((".zip", ".tar.gz", ".tgz"))


def index_archives(plan: ImportPlan, archives: Sequence[tuple[str, Path]], working: Path) -> None:
    """List the JSON files of archives in the plan, one at a time.

    Args:
        plan: the plan; what is wrong with a file of an archive becomes one of its problems.
        archives: the name of each archive, for messages, and its local path.
        working: a folder for the JSON of compressed tars.

    Raises:
        DataError: an archive is none, or was cut off.
    """
    plan.db.executescript(_SCHEMA)
    for number, (name, path) in enumerate(archives):
        is_zip = extension_of(path.name) == "zip"
        spool = path if is_zip else working / f"json-{number}.deflated"
        plan.db.execute("INSERT INTO archives VALUES (?, ?, ?, ?)", (number, name, str(spool.resolve()), is_zip))
        rows = _zip_rows(plan, number, name, path) if is_zip else _tar_rows(plan, (number, name), path, spool)
        plan.db.executemany("INSERT INTO jsons VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        count = plan.db.execute("SELECT count(*) FROM jsons WHERE archive = ?", (number,)).fetchone()[0]
        if not count:
            raise DataError(f"{path}: expected an archive of JSON files, found none in it")
        plan.expect(joined_in(name), count, f"JSON files in {name} without an image here")
    plan.db.executescript("CREATE INDEX json_stems ON jsons (stem);")


def joined_in(archive: str) -> str:
    """Return how the summary calls images that are joined with a JSON file of an archive."""
    return f"images joined with a JSON file in {archive}"


def _zip_rows(plan: ImportPlan, number: int, name: str, path: Path) -> Iterator[_Row]:
    count = 0
    try:
        for entry in zip_entries(path):
            count += 1
            if _is_json(plan, name, entry.name):
                stem, inner = _stem(entry.name), composed(entry.name)
                yield stem, inner, number, entry.at, entry.packed, entry.size, entry.crc, entry.method
    except ZipError as error:
        if not count:
            raise DataError(f"{path}: expected a zip of JSON files: {error}") from error
        plan.add_problem(name, Problem("truncated_zip", f"after {count} files: {error}"))


def _tar_rows(plan: ImportPlan, archive: tuple[int, str], path: Path, spool: Path) -> Iterator[_Row]:
    number, name = archive
    at = 0
    with spool.open("wb") as file:
        for member in read_members(Folder(path.parent), path.name, MOST_BYTES):
            if not member.name:
                problem = member.content if isinstance(member.content, Problem) else Problem("truncated_tar", "")
                plan.add_problem(name, problem)
            elif is_hidden(member.name) or not _is_json(plan, name, member.name):
                plan.tell(f"hidden files in {name}, left out", int(is_hidden(member.name)))
            elif isinstance(member.content, Problem):
                plan.add_problem(f"{name}:{shown(member.name)}", member.content)
            else:
                pack = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
                data = pack.compress(member.content) + pack.flush()
                file.write(data)
                crc, size = zlib.crc32(member.content), len(member.content)
                yield _stem(member.name), composed(member.name), number, at, len(data), size, crc, 8
                at += len(data)


def _is_json(plan: ImportPlan, archive: str, name: str) -> bool:
    """Return whether a file is JSON; others are counted, by extension."""
    if is_hidden(name) or name.startswith("__MACOSX/"):
        return False
    extension = extension_of(name)
    if extension != "json":
        plan.tell(f"files in {archive} that are no JSON: .{extension}"[:120])
    return extension == "json"


def _stem(name: str) -> str:
    """Return the name without folders, `.json` and the extension of an image: `00/1.jpg.json` is about image `1`."""
    base = _SEPARATORS.split(composed(name))[-1]
    base = base[: -len(".json")] if base.lower().endswith(".json") else base
    return base.rpartition(".")[0] if extension_of(base) in FORMAT_OF else base


def _folders(*parts: str) -> list[str]:
    """Return the folders of a path in lower case; no file is opened by them, so `..` means nothing."""
    words = [word for part in parts for word in _SEPARATORS.split(part)]
    return [word.casefold() for word in words if word not in ("", ".", "..")]


@dataclass(frozen=True)
class JsonFile:
    """A JSON file of an archive: the archive's name, and its own inside."""

    archive: str
    name: str
    data: bytes | Problem


class JsonArchives:
    """The JSON files that `index_archives` listed, found by the names of images."""

    def __init__(self, plan: ImportPlan) -> None:
        """Take the archives of a plan; files are opened when they are first read."""
        self._db: sqlite3.Connection = plan.db
        rows = self._db.execute("SELECT number, name, path, is_zip FROM archives ORDER BY number")
        self._archives = {number: (name, Path(path), bool(is_zip)) for number, name, path, is_zip in rows}
        self._files: dict[int, BinaryIO] = {}

    def __enter__(self) -> JsonArchives:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def find(self, name: str) -> JsonFile | Problem | None:
        """Return the JSON file about an image, a problem if several fit equally well, None if there is none.

        Files of the image's name count; one that stands twice in its archive counts if both are the same. Of several,
        that counts whose folders, the archive being the outermost, agree with most of the image's, from the inside out.

        Args:
            name: of the image with its folders, without extension; a tar is a folder.
        """
        *folders, stem = [part for part in _SEPARATORS.split(composed(name)) if part] or [""]
        rows = self._db.execute(
            "SELECT name, archive, at, packed, size, crc, method FROM jsons WHERE stem = ? ORDER BY rowid LIMIT ?",
            (stem, _MOST_FITTING),
        ).fetchall()
        around = _folders(*folders)
        mine = {number for number, (archive, _, _) in self._archives.items() if _title(archive) in around}
        fitting = [row for row in rows if row[1] in mine] if mine else rows
        if not fitting:
            return None
        scores = [_agreement(around, _folders(_title(self._archives[row[1]][0]), row[0])[:-1]) for row in fitting]
        best = {(row[1], row[0]): row for row, score in zip(fitting, scores, strict=True) if score == max(scores)}
        if len(best) > 1:
            names = ", ".join(f"{self._archives[number][0]}:{shown(inner)}" for number, inner in list(best)[:3])
            return Problem("ambiguous_name", f"{len(best)} JSON files fit this image equally well: {names}")
        (row,) = best.values()
        same = [other for other, score in zip(fitting, scores, strict=True) if score == max(scores)]
        if len({other[4:6] for other in same}) > 1:  # size and checksum
            name = f"{self._archives[row[1]][0]}:{shown(row[0])}"
            return Problem("ambiguous_name", f"{name}: stands {len(same)} times in the archive, each time another")
        return JsonFile(self._archives[row[1]][0], shown(row[0]), self._read(row))

    def _read(self, row: tuple[str, int, int, int, int, int, int]) -> bytes | Problem:
        name, number, *numbers = row
        entry = ZipEntry(name, *numbers)
        archive, path, is_zip = self._archives[number]
        try:
            if number not in self._files:
                self._files[number] = path.open("rb")
            file = self._files[number]
            if is_zip:
                return read_entry(file, entry, MOST_BYTES)
            file.seek(entry.at)
            return read_packed(file, entry, MOST_BYTES)
        except (ZipError, OSError) as error:
            return Problem("bad_text", f"{archive}:{shown(name)}: {error}")


def _title(archive: str) -> str:
    """Return the name of an archive as a folder would have it: cc12m for CC12M.zip."""
    base = _SEPARATORS.split(archive)[-1].casefold()
    return re.sub(r"\.(?:zip|tgz|tar\.gz)$", "", base)


def _agreement(image: Sequence[str], about: Sequence[str]) -> tuple[int, int]:
    """Return how many innermost folders are the same, and how many of any place."""
    same = 0
    for one, other in zip(reversed(image), reversed(about), strict=False):
        if one != other:
            break
        same += 1
    return same, len(set(image) & set(about))
