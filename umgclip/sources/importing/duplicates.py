"""The same image twice: the first one stays and takes over what was said of the others.

Which images are there already is kept in a SQLite file, so that memory does not grow with their number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from umgclip.records import ImageRecord, Region, Text, parse_record, shows_one_object

_SCHEMA = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;
CREATE TABLE images (key TEXT PRIMARY KEY, shard TEXT NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE drops (shard TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE again (key TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL);
"""


@dataclass(frozen=True)
class RepeatedImage:
    """An image that was there before: its key, its name in the source, and its record's JSON."""

    key: str
    name: str
    json: str


class ImageIndex:
    """The images of a dataset by key.

    Args:
        path: the SQLite file, made anew.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, images: Iterable[tuple[str, str, str]]) -> None:
        """Images in the order of the dataset, as key, shard and name; those that are there already are dropped."""
        for key, shard, name in images:
            try:
                self._db.execute("INSERT INTO images VALUES (?, ?, ?)", (key, shard, name))
            except sqlite3.IntegrityError:
                self._db.execute("INSERT INTO drops VALUES (?, ?, ?)", (shard, key, name))

    def drop(self, found: Iterable[RepeatedImage]) -> None:
        """What is said of images that are there already."""
        self._db.executemany("INSERT INTO again VALUES (?, ?, ?)", ((a.key, a.name, a.json) for a in found))

    def finish(self) -> None:
        """Make what was added quick to find."""
        self._db.executescript(
            "CREATE INDEX IF NOT EXISTS dropped ON drops (shard); CREATE INDEX IF NOT EXISTS told ON again (key);"
        )
        self._db.commit()

    def shards_with_drops(self) -> list[str]:
        """Shards that hold images that are there already."""
        return [shard for (shard,) in self._db.execute("SELECT DISTINCT shard FROM drops ORDER BY shard")]

    def drops(self, shard: str) -> dict[str, str]:
        """Keys that a shard must lose, with the images' names."""
        return dict(self._db.execute("SELECT key, name FROM drops WHERE shard = ?", (shard,)))

    def shards_of(self, keys: Iterable[str]) -> dict[str, str]:
        """The shard that keeps each image; at most some hundred keys."""
        wanted = sorted(set(keys))
        marks = ", ".join("?" * len(wanted))
        return dict(self._db.execute(f"SELECT key, shard FROM images WHERE key IN ({marks})", wanted))  # noqa: S608

    def names_of(self, keys: Iterable[str]) -> dict[str, str]:
        """What images are called in their source; at most some thousand keys."""
        names = {}
        for key in keys:
            found = self._db.execute("SELECT name FROM images WHERE key = ?", (key,)).fetchone()
            names[key] = found[0] if found else ""
        return names

    def shards_told(self) -> list[str]:
        """Shards with images that were found again."""
        found = self._db.execute("SELECT DISTINCT shard FROM again JOIN images USING (key) ORDER BY shard")
        return [shard for (shard,) in found]

    def again(self, shard: str) -> dict[str, list[RepeatedImage]]:
        """What was found again of a shard's images, by key, in order."""
        rows = self._db.execute(
            "SELECT again.key, again.name, again.json FROM again JOIN images USING (key) "
            "WHERE images.shard = ? ORDER BY again.rowid",
            (shard,),
        )
        found: dict[str, list[RepeatedImage]] = {}
        for row in rows:
            found.setdefault(row[0], []).append(RepeatedImage(*row))
        return found

    def all_again(self) -> Iterator[RepeatedImage]:
        """Everything that was found again, in order."""
        for row in self._db.execute("SELECT key, name, json FROM again ORDER BY rowid"):
            yield RepeatedImage(*row)


def merge(first: ImageRecord, others: Iterable[RepeatedImage]) -> ImageRecord:
    """A record with what others say of the same image: each text and each region once, in order.

    A single object's record stays as it is: another class would make two of it.
    """
    if shows_one_object(first):
        return first
    merged = first
    for other in others:
        record = parse_record(other.json, where=other.name)
        merged = merged.model_copy(
            update={
                "captions": _texts(merged.captions, record.captions),
                "tags": _texts(merged.tags, record.tags),
                "regions": _regions(merged.regions, record.regions),
                "negative_tags": _texts(merged.negative_tags, record.negative_tags),
                "not_exhaustive": _names(merged.not_exhaustive, record.not_exhaustive),
            }
        )
    return merged


def _texts(first: list[Text] | None, more: list[Text] | None) -> list[Text] | None:
    if first is None or more is None:
        return more if first is None else first
    known = {(text.text, text.source) for text in first}
    return [*first, *(text for text in more if (text.text, text.source) not in known)]


def _names(first: list[str] | None, more: list[str] | None) -> list[str] | None:
    return list(dict.fromkeys([*(first or []), *(more or [])])) if first or more else first


def _regions(first: list[Region] | None, more: list[Region] | None) -> list[Region] | None:
    if first is None or more is None:
        return more if first is None else first
    joined = list(first)
    for region in more:
        if all(region.model_copy(update={"id": other.id}) != other for other in joined):
            ids = {other.id for other in joined}
            number = len(joined)
            while region.id in ids:
                region, number = region.model_copy(update={"id": f"given-{number}"}), number + 1
            joined.append(region)
    return joined
