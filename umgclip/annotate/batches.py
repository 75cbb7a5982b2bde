"""Batches of a shard, read and decoded one ahead of the model; what cannot be decoded waits beside its batch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from umgclip.annotate.cache.cache import Shown
from umgclip.annotate.job import Job
from umgclip.annotate.journal import Journal
from umgclip.annotate.progress import Clock
from umgclip.data.stream import Sample, decode, prefetched
from umgclip.errors import DataError
from umgclip.io.shard_source import read_shard_at
from umgclip.io.shards import RawSample
from umgclip.records import shows_one_object


@dataclass(frozen=True)
class Lost:
    """Why a sample goes to the quarantine."""

    reason: str
    detail: str


@dataclass
class Piece:
    """A batch, and what was met on the way to it."""

    raws: list[RawSample] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    lost: dict[str, Lost] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Samples, whatever became of them."""
        return len(self.raws) + len(self.lost) + len(self.left_out)


def pieces(job: Job, size: int, journal: Journal, clock: Clock, keep: Collection[str] = ()) -> Iterator[Piece]:
    """A shard in batches.

    Args:
        job: the shard.
        size: samples of a batch.
        journal: where a worker died before, samples are noted and nothing is decoded ahead.
        clock: gets the seconds of reading and decoding.
        keep: keys to pass over.

    Raises:
        DataError: the shard is damaged.
    """
    found = _pieces(job, size, journal, clock, keep)
    return found if journal.alert else prefetched(found, depth=1)


def _pieces(job: Job, size: int, journal: Journal, clock: Clock, keep: Collection[str]) -> Iterator[Piece]:
    piece = Piece()
    for raw in clock.each("read", read_shard_at(job.source, job.info.sha256)):
        if raw.key in keep:
            continue
        with clock.on("decode"):
            _take(raw, job, piece, journal)
        if len(piece.raws) == size:
            yield piece
            piece = Piece()
    if piece.count:
        yield piece


def _take(raw: RawSample, job: Job, piece: Piece, journal: Journal) -> None:
    if journal.is_deadly([raw.key]):
        piece.lost[raw.key] = Lost("crashed", "the process that worked on it died each time")
        return
    journal.take_up([raw.key])
    try:
        sample = _without_truth(decode(raw, job.name), job)
    except DataError as error:
        piece.lost[raw.key] = Lost("unreadable", str(error))
        return
    if job.hide_truth and shows_one_object(sample.record):
        piece.left_out.append(raw.key)
        return
    piece.raws.append(raw)
    piece.samples.append(sample)
    piece.shown.append(Shown(raw.key, hashlib.sha256(raw.image).hexdigest()))


def _without_truth(sample: Sample, job: Job) -> Sample:
    """A benchmark's truth must not reach its annotations."""
    if not job.hide_truth:
        return sample
    captions = None if job.proposals_only else sample.record.captions
    record = sample.record.model_copy(update={"captions": captions, "tags": None, "regions": None})
    return Sample(sample.pixels, record)
