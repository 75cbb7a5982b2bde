"""A shard to annotate, and what a worker needs for it; both are sent to other processes and machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from umgclip.annotate.neighbours import Neighbours
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import DataError
from umgclip.io.atomic import sha256_file, sha256_json
from umgclip.io.manifest import ShardInfo
from umgclip.io.places import Folder, Place
from umgclip.params import AnnotateParams

_MOST_BYTES = 1 << 24
OWN_SHA256 = "marker_sha256"  # key in a marker: the digest of everything else in it


@dataclass(frozen=True)
class Job:
    """One shard to annotate, and how.

    Attributes:
        source: its tar, a path or an `s3://` URL.
        info: its entry in the manifest.
        name: name of the tar that is written.
        out: where tar, tables and marker go.
        hide_truth: whether tags and regions of the source are hidden, and single objects are left out.
        proposals_only: whether captions are hidden too, and only regions are proposed.
        retry: whether only failed samples are done again, and the others stay as they were written.
    """

    source: str
    info: ShardInfo
    name: str
    out: Place
    hide_truth: bool = False
    proposals_only: bool = False
    retry: bool = False

    @property
    def view(self) -> str:
        """A word for what is hidden of the source."""
        return "places" if self.proposals_only else "bare" if self.hide_truth else "whole"

    @property
    def where(self) -> str:
        """The path or URL of the written tar, for messages and counts."""
        return f"{self.out}/{self.name}"

    @property
    def marker_name(self) -> str:
        """The name of the marker, which is written last."""
        return f"{self.name}.done.json"

    @property
    def label(self) -> str:
        """The name of the tar in the manifest and in the tables."""
        return self.name if isinstance(self.out, Folder) else f"{self.out}/{self.name}"

    def table_name(self, table: str) -> str:
        """Return the file name of a table beside the tar."""
        return f"{Path(self.name).stem}.{table}.parquet"

    def marker(self) -> dict[str, Any] | None:
        """Read the counts, hashes and timings of a finished shard; None: not finished, or the marker is damaged."""
        try:
            marker: dict[str, Any] = json.loads(self.out.read(self.marker_name, _MOST_BYTES))
            sha256 = marker.pop(OWN_SHA256)
        except (DataError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return marker if sha256 == sha256_json(marker) else None

    def damage(self, marker: Mapping[str, Any]) -> str | None:
        """Return how the finished shard differs from its marker, as text; None: it does not.

        Local files are hashed. In S3, which has checksums of its own, sizes are compared. Tables are hashed again when
        they are read.
        """
        if not isinstance(self.out, Folder):
            size = self.out.size(self.name)
            return None if size == marker["bytes"] else f"{self.where}: expected {marker['bytes']} bytes, got {size}"
        written = {self.name: marker["sha256"]}
        written |= {self.table_name(table): sha256 for table, sha256 in marker["tables"].items()}
        for name, expected in written.items():
            path = self.out.path / name
            actual = sha256_file(path) if path.is_file() else "no file"
            if actual != expected:
                return f"{path}: expected sha256 {expected}, got {actual}"
        return None


@dataclass(frozen=True)
class Recipe:
    """Everything that a worker needs to annotate shards.

    Attributes:
        params: the section `annotate`.
        base: folder with the base's weights.
        vocabulary: concepts, those of `rules.vocabulary` included.
        identities: digests of what decides the answers, by `ROLE.MODEL`; answers are stored under them.
        config: digest of everything that decides the results, written into markers.
        loads: models that the worker may load, built-ins by name too; None: all. Answers of other models must be in
            the store.
        run: name of this run of the stage; deaths of workers count within one run.
        neighbours: the nearest concepts of each, for the rule `negatives`; None: the rule is off.
        label_bar: least score of a label that the built-in teacher gives a region; above 1: it gives none.
    """

    params: AnnotateParams
    base: Path
    vocabulary: Vocabulary
    identities: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    loads: frozenset[str] | None = None
    run: str = ""
    neighbours: Neighbours | None = None
    label_bar: float = 0.0
