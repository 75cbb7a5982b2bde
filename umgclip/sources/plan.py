"""The plan of an import in a SQLite file, so that no list of a million images is ever held in memory.

The parent process writes the plan and workers read it. Every image has a position; statements from the source's tables
and JSON files are stored by position.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umgclip.sources.naming import several
from umgclip.sources.note import Problem
from umgclip.sources.source_files import FILES_SCHEMA, SourceFiles, composed

_SCHEMA = """
CREATE TABLE items (position INTEGER PRIMARY KEY, name BLOB NOT NULL, about TEXT);
CREATE TABLE extras (owner INTEGER NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE rows (name TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE problems (name TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE told (what TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE ids (id TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
"""
_POSITION = "SELECT position FROM items WHERE name = ?"
_CACHE_KIB = 8192


@dataclass(frozen=True)
class PlannedImage:
    """One image of the plan: its position, its file name in the source, and facts that the plan has about it."""

    position: int
    name: str
    about: dict[str, Any]


class ImportPlan(SourceFiles):
    """All images of one import, the files of the source, and everything that its tables state about them.

    Args:
        path: the SQLite file.
        fresh: create the file; otherwise it is only read.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        if fresh:
            path.unlink(missing_ok=True)
        super().__init__(sqlite3.connect(path if fresh else f"{path.absolute().as_uri()}?mode=ro", uri=not fresh))
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._digest = hashlib.sha256()
        if fresh:
            # every import makes a new plan, so it need not survive a crash
            self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + FILES_SCHEMA + _SCHEMA)

    @property
    def db(self) -> sqlite3.Connection:
        """The SQLite connection, for tables that only one format needs."""
        return self._db

    def close(self) -> None:
        """Commit all changes and close the SQLite file."""
        self._db.commit()
        self._db.close()

    def __enter__(self) -> ImportPlan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def seen(self, *parts: object) -> None:
        """Add something that decides the result to the plan's digest."""
        self._digest.update(json.dumps([str(part) for part in parts]).encode())

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of everything that decides the result."""
        return hashlib.sha256(self._digest.digest() + self._listed.to_bytes(40, "big")).hexdigest()

    def plan_files(self, extensions: Iterable[str], folder: str = "", lead: Iterable[str] = ()) -> None:
        """Plan every file with one of these extensions as an image, sorted by name; only below `folder` if given.

        Files with an extension of `lead` come first. They hold many images, so each is a part of its own.
        """
        first = ", ".join(f"'{extension}'" for extension in sorted(lead))
        wanted = ", ".join(f"'{extension}'" for extension in sorted({*extensions, *lead}))
        order = f"extension NOT IN ({first}), name"
        inside = os.fsencode(f"{folder}/" if folder else "")
        self._db.execute(
            f"INSERT INTO items (position, name) SELECT row_number() OVER (ORDER BY {order}) - 1, name "  # noqa: S608
            f"FROM files WHERE extension IN ({wanted}) AND substr(name, 1, ?) = ? ORDER BY {order}",
            (len(inside), inside),
        )
        if first:
            count = f"SELECT count(*) FROM items JOIN files USING (name) WHERE extension IN ({first})"  # noqa: S608
            self.state("lead", self._db.execute(count).fetchone()[0])
        self._db.executescript("CREATE UNIQUE INDEX names ON items (name);")

    def lone_files(self, extensions: Iterable[str]) -> dict[str, int]:
        """Count files with one of these extensions that are named like no planned image, by extension."""
        wanted = ", ".join(f"'{extension}'" for extension in sorted(extensions))
        counted = self._db.execute(
            f"SELECT extension, count(*) FROM files AS f WHERE extension IN ({wanted}) AND NOT EXISTS "  # noqa: S608
            "(SELECT 1 FROM files AS g JOIN items USING (name) WHERE g.stem = f.stem) AND NOT EXISTS "
            "(SELECT 1 FROM items WHERE items.name = f.stem) GROUP BY extension ORDER BY extension"
        )
        return {f".{extension}": number for extension, number in counted}

    def add_items(self, items: Iterable[tuple[int, str, dict[str, Any]]]) -> None:
        """Plan images: position, name, and facts about each."""
        self._db.executemany(
            "INSERT INTO items VALUES (?, ?, ?)",
            ((position, os.fsencode(name), json.dumps(about, default=str)) for position, name, about in items),
        )

    def add_extras(self, extras: Iterable[tuple[int, str, Any]]) -> None:
        """Store statements about planned images: position, kind, any JSON value."""
        self._db.executemany(
            "INSERT INTO extras VALUES (?, ?, ?)",
            ((owner, kind, json.dumps(content)) for owner, kind, content in extras),
        )

    def add_rows(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Store table rows by the file name that the table gives; `match_rows` assigns them to images later."""
        self._db.executemany(
            "INSERT INTO rows VALUES (?, ?)", ((composed(name), json.dumps(content)) for name, content in rows)
        )

    def match_rows(self, kind: str) -> None:
        """Assign each row to the planned image whose file it names.

        A row that fits no image, or more than one, becomes a problem.
        """
        self._db.executescript("CREATE INDEX row_names ON rows (name);")
        exact = (
            "SELECT rowid AS number, name, content, (SELECT CASE WHEN count(*) = 1 THEN min(items.position) END "
            "FROM files JOIN items USING (name) WHERE files.nfc = rows.name) AS position FROM rows"
        )
        self._db.execute(
            f"INSERT INTO extras SELECT position, ?, content FROM ({exact}) WHERE position IS NOT NULL "  # noqa: S608
            "ORDER BY number",
            (kind,),
        )
        rest = self._db.execute(
            f"SELECT number, name, content FROM ({exact}) WHERE position IS NULL ORDER BY number"  # noqa: S608
        )
        for _, name, content in rest:
            self._match_one(name, content, kind)

    def _match_one(self, name: str, content: str, kind: str) -> None:
        match = self.find(name)
        positions = [row for file in match.names for row in self._db.execute(_POSITION, (file,))]
        if len(positions) == 1:
            self._db.execute("INSERT INTO extras VALUES (?, ?, ?)", (positions[0][0], kind, content))
        else:
            reason = "ambiguous_name" if positions else "no_image"
            what = f"several images fit: {several(match.names)}" if positions else "no such image"
            self.add_problem(name, Problem(reason, f"a row of the table: {what}"))

    def folders(self) -> list[str]:
        """List the first folder of the planned images' names, each once, sorted; images without folder are left out."""
        rows = self._db.execute(
            "SELECT DISTINCT substr(name, 1, instr(name, x'2f') - 1) AS folder FROM items "
            "WHERE instr(name, x'2f') > 0 ORDER BY folder"
        )
        return [os.fsdecode(bytes(folder)) for (folder,) in rows]

    def add_problem(self, name: str, problem: Problem) -> None:
        """Record something that went wrong before any image was read."""
        self._db.execute("INSERT INTO problems VALUES (?, ?, ?)", (name, problem.reason, problem.detail))

    def refuse_row(self, where: str, detail: str) -> None:
        """Record a table row that cannot be read."""
        self.add_problem(where, Problem("bad_row", detail))

    def problems(self) -> Iterator[tuple[str, Problem]]:
        """Yield what went wrong while planning, in order."""
        for name, reason, detail in self._db.execute("SELECT name, reason, detail FROM problems ORDER BY rowid"):
            yield name, Problem(reason, detail)

    def tell(self, what: str, number: int = 1) -> None:
        """Count something that the summary reports under this description."""
        if number:
            self._db.execute(
                "INSERT INTO told VALUES (?, ?) ON CONFLICT (what) DO UPDATE SET number = number + excluded.number",
                (what, number),
            )

    def told(self) -> dict[str, int]:
        """Return the counts for the summary, by description."""
        return dict(self._db.execute("SELECT what, number FROM told ORDER BY what"))

    def leading(self) -> int:
        """Return how many planned files, the first ones, hold many images each."""
        return int(self.fact("lead") or 0)

    def expect(self, used: str, number: int, left: str) -> None:
        """Let the summary report what is left of `number` under `left`, after those that images count as `used`."""
        self.state("expected", [*(self.fact("expected") or []), [used, number, left]])

    def left_over(self, told: Mapping[str, int]) -> dict[str, int]:
        """Return what is left of everything expected, by description; `told` are the counts of all images."""
        rest = {left: number - told.get(used, 0) for used, number, left in self.fact("expected") or []}
        return {left: number for left, number in rest.items() if number > 0}

    def index(self) -> None:
        """Index the extras for fast look-ups; call this after the last of them."""
        self._db.executescript("CREATE INDEX IF NOT EXISTS owners ON extras (owner);")
        self._db.commit()

    def state(self, name: str, content: Any) -> None:  # noqa: ANN401 - any JSON value
        """Store a fact about the whole source."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(content)))

    def fact(self, name: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return a fact about the whole source, or None if it was not stored."""
        row = self._db.execute("SELECT content FROM facts WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def add_ids(self, ids: Iterable[tuple[str, int]]) -> None:
        """Store the ids that a table gives to images; the first image with an id keeps it."""
        self._db.executemany("INSERT OR IGNORE INTO ids VALUES (?, ?)", ids)

    def has_id(self, name: str) -> bool:
        """Return whether an image has this id."""
        return self._db.execute("SELECT 1 FROM ids WHERE id = ?", (name,)).fetchone() is not None

    def match_ids(self, kind: str, *, each: bool = True) -> None:
        """Assign the rows to the images with their ids, and delete the rows; rows without image are problems.

        Args:
            kind: kind of the statements.
            each: record a problem for each id; otherwise one for all, since most of a table may be about other images.
        """
        self._db.execute(
            "INSERT INTO extras SELECT ids.position, ?, rows.content FROM rows JOIN ids ON ids.id = rows.name "
            "ORDER BY rows.rowid",
            (kind,),
        )
        if each:
            self._db.execute(
                "INSERT INTO problems SELECT name, 'no_image', 'annotations of an image that is not listed: ' "
                "|| count(*) FROM rows WHERE name NOT IN (SELECT id FROM ids) GROUP BY name ORDER BY name"
            )
        else:
            self._db.execute(
                "INSERT INTO problems SELECT min(name) || ', ...', 'no_image', count(*) || ' annotations of ' "
                "|| count(DISTINCT name) || ' images that are not here' FROM rows "
                "WHERE name NOT IN (SELECT id FROM ids) HAVING count(*) > 0"
            )
        self._db.execute("DELETE FROM rows")

    def size(self) -> int:
        """Return the number of planned images."""
        return int(self._db.execute("SELECT count(*) FROM items").fetchone()[0])

    def items(self, first: int, last: int) -> Iterator[PlannedImage]:
        """Yield the planned images from position `first` up to, but not including, `last`."""
        rows = self._db.execute(
            "SELECT position, name, about FROM items WHERE position >= ? AND position < ? ORDER BY position",
            (first, last),
        )
        for position, name, about in rows:
            yield PlannedImage(position, os.fsdecode(name), json.loads(about) if about else {})

    def extras(self, position: int) -> list[tuple[str, Any]]:
        """Return the statements about the image at a position, in the order in which they were added."""
        rows = self._db.execute("SELECT kind, content FROM extras WHERE owner = ? ORDER BY rowid", (position,))
        return [(kind, json.loads(content)) for kind, content in rows]
