"""A sample of training images, spread over the shards: the same for the same data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from umgclip.annotate.job import Job
from umgclip.data.stream import Sample, decode
from umgclip.errors import DataError
from umgclip.io.shard_source import read_shard_at

_MOST_SHARDS = 8


def sample_images(jobs: Sequence[Job], count: int) -> Iterator[Sample]:
    """Yield about `count` images with a caption, evenly spaced in up to eight shards, themselves evenly spaced.

    Images that cannot be decoded are left out; the run itself puts them into the quarantine.

    Args:
        jobs: the shards of the training images.
        count: images, at most.

    Raises:
        DataError: a shard is damaged.
    """
    filled = [job for job in jobs if job.info.samples]
    shards = [filled[row * len(filled) // _MOST_SHARDS] for row in range(_MOST_SHARDS)]
    shards = filled if len(filled) <= _MOST_SHARDS else shards
    for row, job in enumerate(shards):
        of_shard = count * (row + 1) // len(shards) - count * row // len(shards)
        yield from _of_shard(job, min(of_shard, job.info.samples))


def _of_shard(job: Job, count: int) -> Iterator[Sample]:
    wanted = {row * job.info.samples // count for row in range(count)}
    for row, raw in enumerate(read_shard_at(job.source)):
        if row not in wanted:
            continue
        try:
            sample = decode(raw, job.info.path)
        except DataError:
            continue
        if sample.record.captions:
            yield sample
