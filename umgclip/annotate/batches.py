"""Batches of a shard, read and decoded one ahead of the model; samples that cannot be decoded go with their batch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from umgclip.annotate.cache.cache import ImageId
from umgclip.annotate.corrected import corrected, correction_of
from umgclip.annotate.job import Job
from umgclip.annotate.journal import ShardJournal
from umgclip.annotate.progress import Clock
from umgclip.data.corrections import Corrections
from umgclip.data.stream import Sample, decode, prefetched
from umgclip.errors import DataError
from umgclip.io.shard_source import read_shard_at
from umgclip.io.shards import RawSample
from umgclip.records import shows_one_object


@dataclass(frozen=True)
class FailedSample:
    """The reason why a sample goes to the quarantine."""

    reason: str
    detail: str


@dataclass
class SampleBatch:
    """A batch of samples of one shard.

    Attributes:
        raws: the samples as they are stored.
        samples: the same samples, decoded.
        ids: the identities of their images.
        failed: samples that were read with the batch and cannot be annotated, by key.
        left_out: keys of samples that are not annotated, such as single objects of a benchmark.
    """

    raws: list[RawSample] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    ids: list[ImageId] = field(default_factory=list)
    failed: dict[str, FailedSample] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of samples that were read for the batch."""
        return len(self.raws) + len(self.failed) + len(self.left_out)


def read_batches(
    job: Job, size: int, journal: ShardJournal, clock: Clock, keep: Collection[str] = (),
    corrections: Corrections | None = None,
) -> Iterator[SampleBatch]:  # fmt: skip
    """Read and decode a shard in batches, one ahead of the caller.

    Args:
        job: the shard.
        size: samples in a batch.
        journal: if a worker died over the shard before, it records samples, and nothing is decoded ahead.
        clock: gets the seconds of reading and decoding.
        keep: keys of samples to skip.
        corrections: by people, which replace annotations of the source; None: there are none.

    Raises:
        DataError: the shard is damaged.
    """
    batches = _batches(job, size, journal, clock, keep, corrections)
    return batches if journal.alert else prefetched(batches, depth=1)


def _batches(
    job: Job, size: int, journal: ShardJournal, clock: Clock, keep: Collection[str], corrections: Corrections | None
) -> Iterator[SampleBatch]:
    batch = SampleBatch()
    for raw in clock.each("read", read_shard_at(job.source, job.info.sha256)):
        if raw.key in keep:
            continue
        with clock.on("decode"):
            _add_sample(raw, job, batch, journal, corrections)
        if len(batch.raws) == size:
            yield batch
            batch = SampleBatch()
    if batch.count:
        yield batch


def _add_sample(
    raw: RawSample, job: Job, batch: SampleBatch, journal: ShardJournal, corrections: Corrections | None
) -> None:
    if journal.is_deadly([raw.key]):
        batch.failed[raw.key] = FailedSample("crashed", "the process that worked on it died each time")
        return
    journal.take_up([raw.key])
    try:
        sample = _without_truth(decode(raw, job.name), job)
    except DataError as error:
        batch.failed[raw.key] = FailedSample("unreadable", str(error))
        return
    if job.hide_truth and shows_one_object(sample.record):
        batch.left_out.append(raw.key)
        return
    sha256 = hashlib.sha256(raw.image).hexdigest()
    correction = correction_of(corrections, sha256, sample.record)
    if correction is not None:
        sample = Sample(sample.pixels, corrected(sample.record, correction))
    batch.raws.append(raw)
    batch.samples.append(sample)
    batch.ids.append(ImageId(raw.key, sha256))


def _without_truth(sample: Sample, job: Job) -> Sample:
    """Remove a benchmark's truth from a sample, so that it cannot reach the annotations."""
    if not job.hide_truth:
        return sample
    captions = None if job.proposals_only else sample.record.captions
    record = sample.record.model_copy(update={"captions": captions, "tags": None, "regions": None, "pairs": None})
    return Sample(sample.pixels, record)
