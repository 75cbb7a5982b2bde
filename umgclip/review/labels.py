"""The names that a person may choose from, and how often the annotations of a data set use each."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int64

from umgclip.data.vocabulary import Vocabulary
from umgclip.data.wording import name_key
from umgclip.errors import InputError
from umgclip.io.manifest import Manifest
from umgclip.io.places import Folder, Place
from umgclip.io.shard_source import ShardAt
from umgclip.records import ImageRecord, stored_record

VOCABULARY = "vocabulary.json"
_TABLE = "regions.parquet"
_BINS = 1000  # of scores from 0 to 1
_ENOUGH = 20  # labels of a source whose scores can be ranked


@dataclass
class LabelCounts:
    """Counts of the regions that carry each name, things and stuff apart, and of the scores that each source gives.

    Scores of two sources mean different things: of one model those below 0.1 are mostly wrong, of another those below
    0.6. So a score is compared with others of its source.
    """

    things: Counter[str] = field(default_factory=Counter)
    stuff: Counter[str] = field(default_factory=Counter)
    scores: dict[tuple[str, bool], Int64[np.ndarray, "bins"]] = field(default_factory=dict)

    def add(self, record: ImageRecord) -> None:
        """Count the labels of one image's regions."""
        for region in record.regions or []:
            for tag in (region.tags or [])[:1]:
                self.add_label(tag.text, tag.score, tag.source, is_stuff=region.is_stuff)

    def add_label(self, name: str, score: float, source: str, *, is_stuff: bool) -> None:
        """Count one label of a region."""
        (self.stuff if is_stuff else self.things)[name] += 1
        counts = self.scores.get((source, is_stuff))
        if counts is None:
            counts = self.scores[source, is_stuff] = np.zeros(_BINS, np.int64)
        counts[_bin(score)] += 1

    def of(self, name: str) -> int:
        """Return how many regions have this name."""
        return self.things[name] + self.stuff[name]

    def share_below(self, score: float, source: str, *, is_stuff: bool) -> float | None:
        """Return the share of a source's labels with a lower score; None: there are too few to tell."""
        counts = self.scores.get((source, is_stuff))
        if counts is None or (total := int(counts.sum())) < _ENOUGH:
            return None
        return float(counts[: _bin(score)].sum()) / total

    @cached_property
    def usual(self) -> float:
        """The median of the counts, which tells rare names from others."""
        counts = sorted((self.things + self.stuff).values())
        return float(counts[len(counts) // 2]) if counts else 1.0


def _bin(score: float) -> int:
    return min(int(score * _BINS), _BINS - 1)


def count_labels(place: Place, manifest: Manifest) -> LabelCounts:
    """Count the labels of a data set: from its table of regions if it lies beside the shards, else from the records.

    Raises:
        DataError: a shard is damaged.
    """
    counts = LabelCounts()
    if isinstance(place, Folder) and (place.path / _TABLE).is_file():
        with pq.ParquetFile(place.path / _TABLE) as table:
            for batch in table.iter_batches(columns=["label", "label_score", "source", "is_stuff"]):
                for row in batch.to_pylist():
                    if row["label"] is not None:
                        counts.add_label(row["label"], row["label_score"], row["source"], is_stuff=row["is_stuff"])
        return counts
    for info in manifest.shards:
        for raw in ShardAt(place, info).samples():
            counts.add(stored_record(raw.json, key=raw.key, where=f"{info.path}:{raw.key}"))
    return counts


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
