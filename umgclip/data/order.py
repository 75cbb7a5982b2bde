"""The order of training samples, divided into streams: seeded, and the same however many processes read it.

In each epoch the shards are permuted. Their samples, in that order, are divided among the streams as contiguous ranges
whose lengths differ by at most one, so every sample is in exactly one stream of an epoch. Each stream shuffles through
a buffer of its own. Which process reads a stream, and from which sample on, does not change its order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, islice, pairwise
from pathlib import Path

import numpy as np

from umgclip.data.shard_files import ShardFiles
from umgclip.errors import DataError
from umgclip.io.manifest import Manifest
from umgclip.io.shards import RawSample

BUFFER = 4000
_LEAST_BUFFER = 1000


@dataclass(frozen=True)
class _Piece:
    """The samples `start` to `stop` of a shard; the first of them is number `first` of the stream's epoch."""

    shard: int
    start: int
    stop: int
    first: int


@dataclass(frozen=True)
class StoredSample:
    """A sample as it is stored, with the names of its shard and of its dataset."""

    shard: str
    raw: RawSample
    dataset: str | None = None


class SampleOrder:
    """The seeded order of a dataset's samples, in one or several streams.

    Args:
        folder: the dataset, named in errors.
        manifest: its manifest.
        seed: decides the order.
        streams: how many streams there are; part of the order.
        dropped: keys of samples that are drawn and passed over, so that the others keep their order.
        buffer: the most samples to draw from; None: 4000 divided among the streams, but at least 1000.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        seed: int,
        streams: int = 1,
        dropped: frozenset[str] = frozenset(),
        buffer: int | None = None,
    ) -> None:
        self._folder, self._shards, self._files = folder, manifest.shards, ShardFiles(folder, manifest)
        self._seed, self._streams, self._dropped = seed, streams, dropped
        self._buffer = max(_LEAST_BUFFER, BUFFER // streams) if buffer is None else buffer
        self._samples = manifest.samples
        self._gone: dict[int, list[int]] = {}

    def stream(self, index: int, start: int = 0) -> Iterator[StoredSample]:
        """Yield the samples of a stream without end, from its sample `start` on.

        Samples before `start` are counted, not read: only shards that still have samples in the buffer are read again.

        Raises:
            DataError: a damaged shard, or every sample is left out.
        """
        given = 0
        for epoch in count():
            pieces = self._pieces(epoch, index)
            size = self._count(pieces) if given < start else None
            if size is not None and given + size <= start:
                given += size
                if not size and epoch >= self._streams:
                    raise self._nothing_left()
                continue
            skip, before = max(0, start - given), given
            for stored in self._epoch(epoch, index, pieces, skip):
                given += 1
                yield stored
            given += skip
            if given == before and epoch >= self._streams:
                raise self._nothing_left()

    def _nothing_left(self) -> DataError:
        return DataError(f"{self._folder}: expected samples to train on, all {self._samples} are left out")

    def _pieces(self, epoch: int, index: int) -> list[_Piece]:
        """Return what a stream reads in an epoch; over the epochs streams differ by at most one sample."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._shards)).tolist()
        sizes = [_stream_size(self._samples, self._streams, epoch, number) for number in range(self._streams)]
        begin, end = sum(sizes[:index]), sum(sizes[: index + 1])
        bounds = [0, *accumulate(self._shards[shard].samples for shard in order)]
        pieces = []
        for shard, (low, high) in zip(order, pairwise(bounds), strict=True):
            first, last = max(low, begin), min(high, end)
            if first < last:
                pieces.append(_Piece(shard, first - low, last - low, first - begin))
        return pieces

    def _generator(self, epoch: int, index: int) -> np.random.Generator:
        if self._streams > 1:
            return np.random.default_rng([self._seed, epoch, index])
        rng = np.random.default_rng([self._seed, epoch])
        rng.permutation(len(self._shards))
        return rng

    def _epoch(self, epoch: int, index: int, pieces: Sequence[_Piece], skip: int) -> Iterator[StoredSample]:
        rng = self._generator(epoch, index)
        held, reached = self._skipped(pieces, skip, rng)
        waiting = set(held)
        total = sum(piece.stop - piece.start for piece in pieces)
        stored: dict[int, StoredSample] = {}
        for number, sample in self._read(pieces, waiting, reached):
            stored[number] = sample
            if number < reached:
                continue
            held.append(number)
            if len(held) > self._buffer:
                drawn = stored.pop(_draw(held, rng))
                if drawn.raw.key not in self._dropped:
                    yield drawn
        if missing := [number for number in held if number not in stored]:
            raise DataError(f"{self._folder}: expected {total} samples in an epoch's part, {len(missing)} are missing")
        while held:
            drawn = stored.pop(_draw(held, rng))
            if drawn.raw.key not in self._dropped:
                yield drawn

    def _skipped(self, pieces: Sequence[_Piece], skip: int, rng: np.random.Generator) -> tuple[list[int], int]:
        """Draw `skip` samples by number alone; return the numbers in the buffer then, and how many were read."""
        held: list[int] = []
        if not skip:
            return held, 0
        gone = self._gone_numbers(pieces)
        total = sum(piece.stop - piece.start for piece in pieces)
        for number in range(total):
            held.append(number)
            if len(held) > self._buffer and _draw(held, rng) not in gone:
                skip -= 1
                if not skip:
                    return held, number + 1
        while skip:
            if _draw(held, rng) not in gone:
                skip -= 1
        return held, total

    def _read(self, pieces: Sequence[_Piece], waiting: set[int], reached: int) -> Iterator[tuple[int, StoredSample]]:
        """Yield samples of the stream's epoch with their numbers: those in `waiting`, and all from `reached` on."""
        needed = [
            piece
            for piece in pieces
            if piece.first + piece.stop - piece.start > reached
            or any(piece.first <= number < piece.first + piece.stop - piece.start for number in waiting)
        ]
        by_shard = {piece.shard: piece for piece in needed}
        for index, samples in self._files.read(by_shard):
            piece = by_shard[index]
            # the rest of the shard is read too where nothing cuts it short: its end says whether it is complete
            whole = piece.stop == self._shards[index].samples
            for offset, raw in enumerate(islice(samples, piece.start, None if whole else piece.stop)):
                number = piece.first + offset
                if number >= reached or number in waiting:
                    yield number, StoredSample(self._shards[index].path, raw, self._shards[index].dataset)

    def _count(self, pieces: Sequence[_Piece]) -> int:
        """Return how many samples a stream gives in an epoch."""
        total = sum(piece.stop - piece.start for piece in pieces)
        return total - len(self._gone_numbers(pieces))

    def _gone_numbers(self, pieces: Sequence[_Piece]) -> set[int]:
        """Return the numbers, in the stream's epoch, of dropped samples."""
        if not self._dropped:
            return set()
        numbers: set[int] = set()
        for piece in pieces:
            offsets = self._gone_offsets(piece.shard)
            inside = offsets[bisect_left(offsets, piece.start) : bisect_left(offsets, piece.stop)]
            numbers.update(offset - piece.start + piece.first for offset in inside)
        return numbers

    def _gone_offsets(self, shard: int) -> list[int]:
        """Return the places of dropped samples in a shard, whose headers are read when they are first needed."""
        if shard not in self._gone:
            keys = self._files.keys(shard)
            self._gone[shard] = [offset for offset, key in enumerate(keys) if key in self._dropped]
        return self._gone[shard]


def _stream_size(samples: int, streams: int, epoch: int, index: int) -> int:
    """Return a stream's samples in an epoch; the sum over streams is `samples` by Hermite's identity."""
    return ((epoch + 1) * samples + index) // streams - (epoch * samples + index) // streams


def _draw(held: list[int], rng: np.random.Generator) -> int:
    index = int(rng.integers(len(held)))
    held[index], held[-1] = held[-1], held[index]
    return held.pop()
