"""Merging of images that occur more than once: the first one stays and takes over the texts and regions of the others.

The index of all images is a SQLite file, so that memory does not grow with their number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from umgclip.records import ImageRecord, PairSide, Region, Text, parse_record, shows_one_object

_SCHEMA = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;
CREATE TABLE images (key TEXT PRIMARY KEY, shard TEXT NOT NULL, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE drops (shard TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE again (key TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL);
"""


@dataclass(frozen=True)
class RepeatedImage:
    """A later occurrence of an image: its key, its name in the source, and its record's JSON."""

    key: str
    name: str
    json: str


class ImageIndex:
    """Index of the images of a dataset by key, with the later occurrences of each.

    Args:
        path: the SQLite file, made anew.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the SQLite file without a commit."""
        self._db.close()

    def add(self, images: Iterable[tuple[str, str, str]]) -> None:
        """Add images in the order of the dataset, as key, shard and name; mark those already known for removal."""
        for key, shard, name in images:
            try:
                self._db.execute("INSERT INTO images VALUES (?, ?, ?)", (key, shard, name))
            except sqlite3.IntegrityError:
                self._db.execute("INSERT INTO drops VALUES (?, ?, ?)", (shard, key, name))

    def drop(self, repeats: Iterable[RepeatedImage]) -> None:
        """Store records of later occurrences, whose texts and regions the first one takes over."""
        self._db.executemany("INSERT INTO again VALUES (?, ?, ?)", ((a.key, a.name, a.json) for a in repeats))

    def finish(self) -> None:
        """Build the SQL indexes for fast look-ups after everything was added."""
        self._db.executescript(
            "CREATE INDEX IF NOT EXISTS dropped ON drops (shard); CREATE INDEX IF NOT EXISTS told ON again (key);"
        )
        self._db.commit()

    def shards_with_drops(self) -> list[str]:
        """List the shards that hold later occurrences of an image."""
        return [shard for (shard,) in self._db.execute("SELECT DISTINCT shard FROM drops ORDER BY shard")]

    def drops(self, shard: str) -> dict[str, str]:
        """Return the keys that must be removed from a shard, with the images' names."""
        return dict(self._db.execute("SELECT key, name FROM drops WHERE shard = ?", (shard,)))

    def shards_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the shard in which each image stays; for at most some hundred keys."""
        wanted = sorted(set(keys))
        marks = ", ".join("?" * len(wanted))
        return dict(self._db.execute(f"SELECT key, shard FROM images WHERE key IN ({marks})", wanted))  # noqa: S608

    def names_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the names that images have in their source; for at most some thousand keys."""
        names = {}
        for key in keys:
            row = self._db.execute("SELECT name FROM images WHERE key = ?", (key,)).fetchone()
            names[key] = row[0] if row else ""
        return names

    def shards_with_repeats(self) -> list[str]:
        """List the shards with images that occur again."""
        rows = self._db.execute("SELECT DISTINCT shard FROM again JOIN images USING (key) ORDER BY shard")
        return [shard for (shard,) in rows]

    def repeats(self, shard: str) -> dict[str, list[RepeatedImage]]:
        """Return the later occurrences of a shard's images by key, in order."""
        rows = self._db.execute(
            "SELECT again.key, again.name, again.json FROM again JOIN images USING (key) "
            "WHERE images.shard = ? ORDER BY again.rowid",
            (shard,),
        )
        repeats_of: dict[str, list[RepeatedImage]] = {}
        for row in rows:
            repeats_of.setdefault(row[0], []).append(RepeatedImage(*row))
        return repeats_of

    def all_repeats(self) -> Iterator[RepeatedImage]:
        """Yield all later occurrences of images in order."""
        for row in self._db.execute("SELECT key, name, json FROM again ORDER BY rowid"):
            yield RepeatedImage(*row)


def merge(first: ImageRecord, others: Iterable[RepeatedImage]) -> ImageRecord:
    """Merge the records of later occurrences into the first one: each text and each region once, in order.

    The record of a single object stays as it is: a second class would turn it into two objects.
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
                "pairs": _pairs(merged.pairs, record.pairs),
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


def _pairs(first: list[PairSide] | None, more: list[PairSide] | None) -> list[PairSide] | None:
    return [*(first or []), *(side for side in more or [] if side not in (first or []))] if first or more else first


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
