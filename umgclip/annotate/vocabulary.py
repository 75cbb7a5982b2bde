"""Collect names from training shards: noun chunks of captions, and tags that came with the images.

The vocabulary is made of these names, so all shards are read before the first one is annotated. Each is read once, by
as many processes as annotate or by a cluster, and its names are stored with the answers.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypedDict

from umgclip.annotate.cache.codec import Packed
from umgclip.annotate.cache.files import AnswerFile, AnswerKey, file_name
from umgclip.annotate.job import Job
from umgclip.data.corrections import Correction
from umgclip.data.vocabulary import ChunkCounts
from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.io.atomic import sha256_file
from umgclip.io.manifest import REMOTE
from umgclip.io.places import Place, place_at
from umgclip.io.processes import worker_pool
from umgclip.io.shard_source import read_shard_at
from umgclip.params import AnnotateParams, threads
from umgclip.provenance import code_digest
from umgclip.records import ImageRecord, stored_record
from umgclip.stage import begin

_WHOLE = AnswerKey("shard", "")
_FEW = 20_000  # images that one process reads in two seconds, the time that other processes take to start


class ShardNames(TypedDict):
    """The names and captions of one shard, as they are stored.

    Attributes:
        seen: counts of noun chunks in the first captions of the images.
        placed: counts of those that follow a preposition of place, such as `on`.
        captions: images with a caption.
        things: names that came as tags of images or of regions, sorted.
        stuff: names that came as tags of background regions, sorted.
    """

    seen: dict[str, int]
    placed: dict[str, int]
    captions: int
    things: list[str]
    stuff: list[str]


@dataclass
class GivenNames:
    """Names that came with the images, as tags of images or of regions; they are known however rare they are."""

    things: set[str] = field(default_factory=set)
    stuff: set[str] = field(default_factory=set)

    def add(self, record: ImageRecord | Correction) -> None:
        """Add the names of one image's record, or of what people corrected in it."""
        self.things.update(tag.text for tag in record.tags or [])
        for region in record.regions or []:
            (self.stuff if region.is_stuff else self.things).update(tag.text for tag in region.tags or [])

    def add_written(self, dataset: Path) -> None:
        """Add names from the tables of a dataset, which models wrote and no vocabulary holds."""
        for batch in tables.batches(dataset / "regions.parquet", ["label", "is_stuff"]):
            for label, is_stuff in set(zip(batch["label"].to_pylist(), batch["is_stuff"].to_pylist(), strict=True)):
                if label is not None:
                    (self.stuff if is_stuff else self.things).add(label)
        for batch in tables.batches(dataset / "images.parquet", ["tags"]):
            for joined_tags in batch["tags"].unique().to_pylist():
                self.things.update(name for name in joined_tags.split("|") if name)


@dataclass
class Names:
    """The names of any number of shards: chunks of the first caption of every image, and its tags."""

    chunks: ChunkCounts = field(default_factory=ChunkCounts)
    given: GivenNames = field(default_factory=GivenNames)

    def add(self, names: ShardNames) -> None:
        """Add the names of one shard to these."""
        self.chunks.seen.update(names["seen"])
        self.chunks.placed.update(names["placed"])
        self.chunks.captions += names["captions"]
        self.given.things.update(names["things"])
        self.given.stuff.update(names["stuff"])


def read_names(jobs: Sequence[Job], params: AnnotateParams) -> Names:
    """Read the names in training shards, in this process, in several or on a cluster.

    Args:
        jobs: the shards.
        params: the section `annotate`; its `store` holds the names of shards, so that each shard is read once.

    Raises:
        DataError: a shard that has to be read is damaged.
        InputError: no cluster answers.
    """
    read = partial(read_shard_names, store=None if params.store is None else place_at(params.store))
    names, advance = Names(), begin("reading captions and vocabulary", len(jobs), "shards")
    for shard in _each(jobs, params, read):
        names.add(shard)
        advance(1)
    return names


def read_shard_names(job: Job, store: Place | None = None) -> ShardNames:
    """Return the stored names of a shard, or read the shard and store its names if it is the manifest's.

    Raises:
        DataError: the shard is damaged.
    """
    if store is None:
        return _read(job)
    file = AnswerFile(store, file_name(job.info.sha256, job.view, "names", "given", code_digest(__name__)))
    for packed in file.find([_WHOLE]) or []:
        if packed.arrays == _digest(packed.json):  # otherwise it is damaged
            stored: ShardNames = json.loads(packed.json)
            return stored
    names = _read(job)
    if job.source.startswith(REMOTE) or sha256_file(Path(job.source)) == job.info.sha256:
        text = json.dumps(names, ensure_ascii=False)
        file.put(_WHOLE, Packed(text, _digest(text)))
        file.write()
    return names


def _each(jobs: Sequence[Job], params: AnnotateParams, read: Callable[[Job], ShardNames]) -> Iterator[ShardNames]:
    """Yield the names of each shard, in any order."""
    if sum(job.info.samples for job in jobs) < _FEW:
        yield from map(read, jobs)
        return
    if params.engine == "ray":
        from umgclip.annotate.engines import ray

        if ray.has_cluster(params.ray.address):
            yield from ray.each_job(jobs, params.ray.address, read)
            return
    done = 0
    try:
        with worker_pool(min(params.workers or threads(), len(jobs))) as pool:
            for names in pool.map(read, jobs):
                done += 1
                yield names
    except BrokenProcessPool:  # a process was killed, perhaps because memory ran out: the rest is read here
        yield from map(read, jobs[done:])


def _read(job: Job) -> ShardNames:
    """Read a shard, and return its counts of chunks and its sorted names of things and stuff."""
    chunks, given = ChunkCounts(), GivenNames()
    for raw in read_shard_at(job.source, job.info.sha256):
        try:
            record = stored_record(raw.json, key=raw.key, where=f"{job.info.path}:{raw.key}")
        except DataError:
            continue  # the engine reads it again and writes it to the quarantine
        given.add(record)
        chunks.add(text.text for text in (record.captions or [])[:1])
    return {
        "seen": _sorted(chunks.seen),
        "placed": _sorted(chunks.placed),
        "captions": chunks.captions,
        "things": sorted(given.things),
        "stuff": sorted(given.stuff),
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
