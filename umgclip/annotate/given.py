"""Names that are known because somebody or some model wrote them, beside those mined from captions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from umgclip.annotate.answers.code import code_digest
from umgclip.annotate.answers.codec import Packed
from umgclip.annotate.answers.store import Row, Shelf, shelf_name
from umgclip.annotate.job import Job
from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.io.atomic import sha256_file
from umgclip.io.places import Place
from umgclip.io.shard_source import read_shard_at
from umgclip.manifest import REMOTE
from umgclip.records import ImageRecord, parse_record

_WHOLE = Row("shard", "")


@dataclass
class Given:
    """Names that came with the images, as tags of them or of their regions: known, however rare."""

    things: set[str] = field(default_factory=set)
    stuff: set[str] = field(default_factory=set)

    def add(self, record: ImageRecord) -> None:
        """Those of an image."""
        self.things.update(tag.text for tag in record.tags or [])
        for region in record.regions or []:
            (self.stuff if region.is_stuff else self.things).update(tag.text for tag in region.tags or [])

    def add_written(self, dataset: Path) -> None:
        """Names that models wrote and no vocabulary held, from the tables."""
        regions = (
            tables.read_columns(dataset / "regions.parquet", ["label", "is_stuff"])
            .group_by(["label", "is_stuff"])
            .aggregate([])
        )
        for label, is_stuff in zip(regions["label"].to_pylist(), regions["is_stuff"].to_pylist(), strict=True):
            if label is not None:
                (self.stuff if is_stuff else self.things).add(label)
        for joined_tags in tables.read_columns(dataset / "images.parquet", ["tags"])["tags"].unique().to_pylist():
            self.things.update(name for name in joined_tags.split("|") if name)


def captions(jobs: Iterable[Job], given: Given, store: Place | None = None) -> Iterator[str]:
    """The first caption of every image; its other names go to `given`.

    Args:
        jobs: shards of training images.
        given: is added to.
        store: where it is kept what a shard's records say, so that a shard is read once; None: nowhere.

    Raises:
        DataError: a shard that has to be read is damaged.
    """
    for job in jobs:
        said = _read(job) if store is None else _kept(job, store)
        given.things.update(said["things"])
        given.stuff.update(said["stuff"])
        yield from said["captions"]


def _kept(job: Job, store: Place) -> dict[str, list[str]]:
    """What was kept of the shard that the manifest tells of, or what is read now."""
    shelf = Shelf(store, shelf_name(job.info.sha256, job.view, "names", "given", code_digest(__name__)))
    for packed in shelf.find([_WHOLE]) or []:
        if packed.arrays == _digest(packed.json):  # else it was damaged
            found: dict[str, list[str]] = json.loads(packed.json)
            return found
    said = _read(job)
    if job.source.startswith(REMOTE) or sha256_file(Path(job.source)) == job.info.sha256:
        text = json.dumps(said, ensure_ascii=False)
        shelf.put(_WHOLE, Packed(text, _digest(text)))
        shelf.write()
    return said


def _read(job: Job) -> dict[str, list[str]]:
    """First captions in the order of the images, and the sorted names of things and stuff."""
    first: list[str] = []
    given = Given()
    for raw in read_shard_at(job.source, job.info.sha256):
        try:
            record = parse_record(raw.json, where=f"{job.info.path}:{raw.key}")
        except DataError:
            continue  # the engine meets it again and writes it into the quarantine
        given.add(record)
        first.extend(text.text for text in (record.captions or [])[:1])
    return {"captions": first, "things": sorted(given.things), "stuff": sorted(given.stuff)}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
