"""The names that a person may choose from, and how often the annotations of a data set use each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from umgclip.data.vocabulary import Vocabulary
from umgclip.data.wording import name_key
from umgclip.errors import InputError
from umgclip.io.manifest import Manifest
from umgclip.io.places import Folder, Place
from umgclip.io.shard_source import ShardAt
from umgclip.records import ImageRecord, stored_record

VOCABULARY = "vocabulary.json"
_TABLE = "regions.parquet"


@dataclass
class LabelCounts:
    """Counts of the regions that carry each name, things and stuff apart."""

    things: Counter[str] = field(default_factory=Counter)
    stuff: Counter[str] = field(default_factory=Counter)

    def add(self, record: ImageRecord) -> None:
        """Count the labels of one image's regions."""
        for region in record.regions or []:
            for tag in (region.tags or [])[:1]:
                (self.stuff if region.is_stuff else self.things)[tag.text] += 1

    def of(self, name: str) -> int:
        """Return how many regions have this name."""
        return self.things[name] + self.stuff[name]

    @cached_property
    def usual(self) -> float:
        """The median of the counts, which tells rare names from others."""
        counts = sorted((self.things + self.stuff).values())
        return float(counts[len(counts) // 2]) if counts else 1.0


def count_labels(place: Place, manifest: Manifest) -> LabelCounts:
    """Count the labels of a data set: from its table of regions if it lies beside the shards, else from the records.

    Raises:
        DataError: a shard is damaged.
    """
    counts = LabelCounts()
    if isinstance(place, Folder) and (place.path / _TABLE).is_file():
        with pq.ParquetFile(place.path / _TABLE) as table:
            for batch in table.iter_batches(columns=["label", "is_stuff"]):
                _add_rows(counts, batch.column("label").to_pylist(), batch.column("is_stuff").to_pylist())
        return counts
    for info in manifest.shards:
        for raw in ShardAt(place, info).samples():
            counts.add(stored_record(raw.json, key=raw.key, where=f"{info.path}:{raw.key}"))
    return counts


def _add_rows(counts: LabelCounts, labels: Iterable[str | None], stuff: Iterable[bool]) -> None:
    for label, is_stuff in zip(labels, stuff, strict=True):
        if label is not None:
            (counts.stuff if is_stuff else counts.things)[label] += 1


def vocabulary_for(place: Place, counts: LabelCounts, file: Path | None = None) -> Vocabulary:
    """Return the names that a person may choose from.

    Args:
        place: the data set.
        counts: its labels, which are names in any case.
        file: `vocabulary.json` of the stage annotate; None: the one in the folder above the data set, if there is one.

    Raises:
        InputError: the file is missing, or not as the stage writes it.
    """
    if file is None and isinstance(place, Folder) and (place.path.parent / VOCABULARY).is_file():
        file = place.path.parent / VOCABULARY
    given: dict[str, list[str]] = {"things": [], "stuff": [], "held_out": []}
    if file is not None:
        try:
            given |= json.loads(file.read_text(encoding="utf-8"))
            if not all(isinstance(name, str) for names in given.values() for name in names):
                raise TypeError("expected lists of names")
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"--vocabulary: expected {VOCABULARY} of `umgclip annotate` at {file}: {error}") from error
    stuff = dict.fromkeys([*given["stuff"], *sorted(counts.stuff)])
    things = dict.fromkeys([*given["things"], *sorted(counts.things)])
    return Vocabulary(tuple(n for n in things if n not in stuff or n in given["things"]), tuple(stuff),
                      tuple(given["held_out"]))  # fmt: skip


@dataclass(frozen=True)
class LabelNames:
    """LabelNames as they are written, found by any spelling; `stuff` are backgrounds."""

    things: tuple[str, ...]
    stuff: tuple[str, ...]

    @cached_property
    def _written(self) -> dict[str, str]:
        return {name_key(name): name for name in (*self.stuff, *self.things)}

    @cached_property
    def _stuff(self) -> frozenset[str]:
        return frozenset(map(name_key, self.stuff)) - frozenset(map(name_key, self.things))

    def written(self, name: str) -> str | None:
        """Return a name as it is written here; None: it is not among these names."""
        return self._written.get(name_key(name))

    def is_stuff(self, name: str) -> bool:
        """Check whether a name is one of a background and of no thing."""
        return name_key(name) in self._stuff
