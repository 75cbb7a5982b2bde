"""A shard to annotate, and what a worker needs to do it; both travel to other processes and machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import DataError
from umgclip.io.atomic import sha256_file, sha256_json
from umgclip.io.manifest import ShardInfo
from umgclip.io.places import Folder, Place
from umgclip.params import AnnotateParams

_MOST_BYTES = 1 << 24
OWN_SHA256 = "marker_sha256"  # in a marker: of all else in it


@dataclass(frozen=True)
class Job:
    """One shard.

    Attributes:
        source: its tar, a path or an `s3://` URL.
        info: as the manifest describes it.
        name: of the tar that is written.
        out: where tar, tables and marker go.
        hide_truth: what is known of tags and regions is not shown, and single objects are left out.
        proposals_only: captions are hidden too, and nothing but places is asked for.
        retry: samples that failed are done again, the others are kept as they were written.
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
        """A word for what is hidden."""
        return "places" if self.proposals_only else "bare" if self.hide_truth else "whole"

    @property
    def where(self) -> str:
        """What is written, in one word for messages and counts."""
        return f"{self.out}/{self.name}"

    @property
    def marker_name(self) -> str:
        """Of the file that is written last: the shard is done."""
        return f"{self.name}.done.json"

    @property
    def label(self) -> str:
        """The tar as the manifest and the tables call it."""
        return self.name if isinstance(self.out, Folder) else f"{self.out}/{self.name}"

    def table_name(self, table: str) -> str:
        """Of one of the tables beside the tar."""
        return f"{Path(self.name).stem}.{table}.parquet"

    def marker(self) -> dict[str, Any] | None:
        """Counts, hashes and timings of the finished shard; None: it is not finished, or its marker is damaged."""
        try:
            found: dict[str, Any] = json.loads(self.out.read(self.marker_name, _MOST_BYTES))
            own = found.pop(OWN_SHA256)
        except (DataError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return found if own == sha256_json(found) else None

    def damage(self, marker: Mapping[str, Any]) -> str | None:
        """What of the finished shard is not what its marker says; None: nothing.

        Local files are hashed; in S3, which does that itself, sizes are compared. Tables are hashed again when read.
        """
        if not isinstance(self.out, Folder):
            size = self.out.size(self.name)
            return None if size == marker["bytes"] else f"{self.where}: expected {marker['bytes']} bytes, got {size}"
        written = {self.name: marker["sha256"]}
        written |= {self.table_name(table): sha256 for table, sha256 in marker["tables"].items()}
        for name, expected in written.items():
            path = self.out.path / name
            found = sha256_file(path) if path.is_file() else "no file"
            if found != expected:
                return f"{path}: expected sha256 {expected}, got {found}"
        return None


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to annotate.

    Attributes:
        params: the section `annotate`.
        base: folder with the base's weights.
        vocabulary: concepts, those of `rules.vocabulary` included.
        identities: what decides the answers, by `ROLE.MODEL`; they are stored under it.
        config: digest of all that decides the results, written into markers.
        loads: models that the worker may load, built-ins by name too; None: all. What others would say has to be
            stored.
        run: name of this run of the stage; deaths of workers are counted within one.
    """

    params: AnnotateParams
    base: Path
    vocabulary: Vocabulary
    identities: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    loads: frozenset[str] | None = None
    run: str = ""
