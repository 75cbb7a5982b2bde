"""Images that COCO files list: ids are valid within one file, so images of several files are joined by image file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from umgclip.sources.naming import plain_path, several
from umgclip.sources.note import Problem
from umgclip.sources.plan import ImportPlan
from umgclip.sources.values import size_px

_SCHEMA = """
CREATE TABLE listed (
  id TEXT PRIMARY KEY, json INTEGER NOT NULL, name TEXT NOT NULL, about TEXT NOT NULL, width INTEGER, height INTEGER,
  found BLOB, exact INTEGER NOT NULL DEFAULT 0, reason TEXT, detail TEXT
);
CREATE TABLE extents (id TEXT PRIMARY KEY, right REAL NOT NULL, bottom REAL NOT NULL) WITHOUT ROWID;
"""
_PAGE = 5000
_SUSPECTS = """
SELECT found, width, height FROM listed JOIN extents USING (id)
WHERE json = ? AND found IS NOT NULL AND width != height
  AND (right > width + max(2, width / 100.0) OR bottom > height + max(2, height / 100.0))
  AND right <= height + max(2, height / 100.0) AND bottom <= width + max(2, width / 100.0)
LIMIT ?
"""


class Listing:
    """Listed images by `JSON:ID`, where JSON is the number of the file that lists them.

    Args:
        plan: receives the images.
        files: the JSON files, by number.
    """

    def __init__(self, plan: ImportPlan, files: list[Path]) -> None:
        self._plan, self._db, self._files = plan, plan.db, files
        self._db.executescript(_SCHEMA)
        self._reached: list[tuple[str, float, float]] = []

    def add(self, number: int, image: str, name: str, about: dict[str, Any]) -> None:
        """List an image; one id with two names or two sizes is ambiguous, so all images with it are refused."""
        size, _ = size_px(about.get("width"), about.get("height"))
        row = [f"{number}:{image}", number, name, json.dumps(about), *(size or (None, None))]
        if self._insert(row) is not None:
            return
        before, other, reason, *known = self._db.execute(
            "SELECT rowid, name, reason, width, height FROM listed WHERE id = ?", row[:1]
        ).fetchone()
        if plain_path(other) == plain_path(name):
            self._plan.tell("images that a file lists twice")
            if reason is None and size is not None and known != [None, None] and known != [*size]:
                sizes = f"{known[0]} x {known[1]} and {size[0]} x {size[1]}"
                detail = f"{self._files[number].name}: expected one size for each image, got {sizes} for id {image}"
                self._fault(before, "ambiguous_id", detail)
            return
        detail = f"{self._files[number].name}: expected an id for each image, got {image} for both {other} and {name}"
        if reason is None:
            self._fault(before, "ambiguous_id", detail)
        row[0] = f"{number}:{image} once more as {name}"
        again = self._insert(row)
        if again is not None:
            self._fault(again, "ambiguous_id", detail)

    def _insert(self, row: list[Any]) -> int | None:
        columns = "id, json, name, about, width, height"
        done = self._db.execute(f"INSERT OR IGNORE INTO listed ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        return done.lastrowid if done.rowcount else None

    def _fault(self, row: int, reason: str, detail: str) -> None:
        self._db.execute("UPDATE listed SET reason = ?, detail = ? WHERE rowid = ?", (reason, detail, row))

    def reach(self, image: str, right: float, bottom: float) -> None:
        """Record how far a box of an image reaches to the right and to the bottom, in pixels."""
        self._reached.append((image, right, bottom))
        if len(self._reached) >= _PAGE:
            self._write_reached()

    def _write_reached(self) -> None:
        self._db.executemany(
            "INSERT INTO extents VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "right = max(right, excluded.right), bottom = max(bottom, excluded.bottom)",
            self._reached,
        )
        self._reached = []

    def resolve(self) -> None:
        """Find the image files, and plan each of them once."""
        self._write_reached()
        self._find_exact()
        self._find_alike()
        self._resolve_doubles()
        self._plan_items()

    def _rows(self, columns: str, where: str = "1") -> Iterator[tuple[Any, ...]]:
        """Yield rows in the order of the files, page by page, so that they may change meanwhile."""
        last = 0
        while True:
            page = self._db.execute(
                f"SELECT rowid, {columns} FROM listed WHERE rowid > ? AND {where} ORDER BY rowid LIMIT {_PAGE}",  # noqa: S608
                (last,),
            ).fetchall()
            if not page:
                return
            yield from page
            last = page[-1][0]

    def _find_exact(self) -> None:
        for row, name in self._rows("name"):
            match = self._plan.find(name)
            if match.exact and len(match.names) == 1:
                self._db.execute("UPDATE listed SET found = ?, exact = 1 WHERE rowid = ?", (match.names[0], row))
        self._db.execute("CREATE INDEX listed_found ON listed (found, json)")

    def _find_alike(self) -> None:
        """Find files for names that match no path exactly; a file that another entry names exactly is excluded."""
        for row, number, name in self._rows("json, name", "found IS NULL AND reason IS NULL"):
            alike = self._plan.find(name).names
            names = [file for file in alike if not self._is_taken(file, number)]
            if len(names) == 1:
                self._db.execute("UPDATE listed SET found = ? WHERE rowid = ?", (names[0], row))
            elif names:
                self._fault(row, "ambiguous_name", f"expected one image of that name, found {several(names)}")
            else:
                others = f"; {several(alike)} is another one's" if alike else ""
                self._fault(row, "no_image", f"expected an image of that name, found none{others}")

    def _is_taken(self, file: bytes, number: int) -> bool:
        query = "SELECT 1 FROM listed WHERE found = ? AND json = ? AND exact"
        return self._db.execute(query, (file, number)).fetchone() is not None

    def _resolve_doubles(self) -> None:
        """Refuse a file that two different entries of a JSON may mean; count entries listed twice as one image."""
        doubles = self._db.execute(
            "SELECT json, found, min(exact), count(*), min(name), max(name) FROM listed WHERE found IS NOT NULL "
            "GROUP BY json, found HAVING count(*) > 1"
        ).fetchall()
        for number, file, exact, times, one, other in doubles:
            if exact or plain_path(one) == plain_path(other):
                self._plan.tell("images that a file lists twice", times - 1)
                continue
            detail = f"expected a file for each image, got {several([file])} for both {one} and {other}"
            self._db.execute(
                "UPDATE listed SET found = NULL, reason = 'ambiguous_name', detail = ? WHERE json = ? AND found = ?",
                (detail, number, file),
            )

    def _plan_items(self) -> None:
        self._db.execute("CREATE UNIQUE INDEX names ON items (name)")
        position = 0
        for _, key, name, about, file, reason, detail in self._rows("id, name, about, found, reason, detail"):
            path = file if file is not None else os.fsencode(name)
            spot = self._db.execute("SELECT position FROM items WHERE name = ?", (path,)).fetchone()
            if spot is None:
                self._plan.add_items([(position, os.fsdecode(path), {})])
                spot, position = (position,), position + 1
            self._plan.add_ids([(key, spot[0])])
            extra = {"of": key, **json.loads(about)} if reason is None else {"reason": reason, "detail": detail}
            self._plan.add_extras([(spot[0], "image" if reason is None else "fault", extra)])
        alike = "SELECT count(DISTINCT found) FROM listed WHERE found IS NOT NULL AND NOT exact"
        self._plan.tell("images found under another name", self._db.execute(alike).fetchone()[0])

    def give_rows(self, kinds: list[str]) -> None:
        """Assign each annotation row to the planned image that it belongs to.

        Args:
            kinds: kind of annotations in each JSON file.
        """
        case = " ".join(f"WHEN '{number}' THEN '{kind}'" for number, kind in enumerate(kinds))
        self._db.execute(
            f"INSERT INTO extras SELECT ids.position, CASE substr(rows.name, 1, instr(rows.name, ':') - 1) {case} END, "  # noqa: S608
            "rows.content FROM rows JOIN ids ON ids.id = rows.name ORDER BY rows.rowid"
        )
        lost = self._db.execute(
            "SELECT name, count(*) FROM rows WHERE name NOT IN (SELECT id FROM ids) GROUP BY name ORDER BY name"
        ).fetchall()
        for key, count in lost:
            number, _, image = key.partition(":")
            detail = f"{self._files[int(number)].name}: annotations of an image that is not listed: {count}"
            self._plan.add_problem(image, Problem("no_image", detail))
        self._db.execute("DELETE FROM rows")

    def suspects(self, number: int, most: int) -> list[tuple[str, tuple[int, int]]]:
        """List images whose boxes fit only if width and height are exchanged, with their sizes as given."""
        rows = self._db.execute(_SUSPECTS, (number, most)).fetchall()
        return [(os.fsdecode(file), (width, height)) for file, width, height in rows]
