"""The order of training samples, divided into lanes: seeded, and the same however many processes read it.

In each epoch the shards are permuted. Their samples, in that order, are dealt to the lanes as contiguous ranges whose
lengths differ by one at most, so that every sample is in one lane of an epoch. A lane draws from a buffer of its own.
Which process reads a lane, and when it began to, does not matter. One lane alone is the order of `stream.shuffled`.
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
    """Samples `start` to `stop` of a shard; the first of them is number `first` of the lane's epoch."""

    shard: int
    start: int
    stop: int
    first: int


@dataclass(frozen=True)
class Stored:
    """A sample as stored, and the shard that holds it."""

    shard: str
    raw: RawSample


class Lanes:
    """All lanes of a dataset.

    Args:
        folder: the dataset, named in errors.
        manifest: its manifest.
        seed: decides the order.
        lanes: how many; part of the order.
        dropped: keys that are drawn and passed over, so that the others keep their order.
        buffer: samples to draw from, at most; None: 4000 divided among the lanes, but 1000 at least.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        seed: int,
        lanes: int = 1,
        dropped: frozenset[str] = frozenset(),
        buffer: int | None = None,
    ) -> None:
        self._folder, self._shards, self._files = folder, manifest.shards, ShardFiles(folder, manifest)
        self._seed, self._lanes, self._dropped = seed, lanes, dropped
        self._buffer = max(_LEAST_BUFFER, BUFFER // lanes) if buffer is None else buffer
        self._samples = manifest.samples
        self._gone: dict[int, list[int]] | None = None

    def stream(self, lane: int, start: int = 0) -> Iterator[Stored]:
        """Samples of a lane without end, from its sample `start` on.

        What comes before is counted, not read: only shards that still have samples in the buffer are read again.

        Raises:
            DataError: a damaged shard, or every sample is left out.
        """
        given = 0
        for epoch in count():
            pieces = self._pieces(epoch, lane)
            size = self._kept(pieces) if given < start else None
            if size is not None and given + size <= start:
                given += size
                if not size and epoch >= self._lanes:
                    raise self._nothing_left()
                continue
            skip, before = max(0, start - given), given
            for stored in self._epoch(epoch, lane, pieces, skip):
                given += 1
                yield stored
            given += skip
            if given == before and epoch >= self._lanes:
                raise self._nothing_left()

    def _nothing_left(self) -> DataError:
        return DataError(f"{self._folder}: expected samples to train on, all {self._samples} are left out")

    def _pieces(self, epoch: int, lane: int) -> list[_Piece]:
        """What a lane reads in an epoch; over the epochs no lane gets ahead of another by more than one sample."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._shards)).tolist()
        sizes = [_dealt(self._samples, self._lanes, epoch, number) for number in range(self._lanes)]
        begin, end = sum(sizes[:lane]), sum(sizes[: lane + 1])
        bounds = [0, *accumulate(self._shards[index].samples for index in order)]
        found = []
        for index, (low, high) in zip(order, pairwise(bounds), strict=True):
            first, last = max(low, begin), min(high, end)
            if first < last:
                found.append(_Piece(index, first - low, last - low, first - begin))
        return found

    def _generator(self, epoch: int, lane: int) -> np.random.Generator:
        if self._lanes > 1:
            return np.random.default_rng([self._seed, epoch, lane])
        rng = np.random.default_rng([self._seed, epoch])
        rng.permutation(len(self._shards))
        return rng

    def _epoch(self, epoch: int, lane: int, pieces: Sequence[_Piece], skip: int) -> Iterator[Stored]:
        rng = self._generator(epoch, lane)
        held, reached = self._skipped(pieces, skip, rng)
        waiting = set(held)
        total = sum(piece.stop - piece.start for piece in pieces)
        stored: dict[int, Stored] = {}
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
        """Draw `skip` samples by number alone; gives the numbers that are held then, and how many were read."""
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

    def _read(self, pieces: Sequence[_Piece], waiting: set[int], reached: int) -> Iterator[tuple[int, Stored]]:
        """Samples of the lane's epoch by number: those in `waiting`, and all from `reached` on."""
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
                    yield number, Stored(self._shards[index].path, raw)

    def _kept(self, pieces: Sequence[_Piece]) -> int:
        """Samples that a lane gives in an epoch."""
        total = sum(piece.stop - piece.start for piece in pieces)
        return total - len(self._gone_numbers(pieces))

    def _gone_numbers(self, pieces: Sequence[_Piece]) -> set[int]:
        """Numbers, in the lane's epoch, of samples that are left out; reads the headers of all shards once."""
        if not self._dropped:
            return set()
        if self._gone is None:
            self._gone = {}
            for index in range(len(self._shards)):
                keys = self._files.keys(index)
                self._gone[index] = [place for place, key in enumerate(keys) if key in self._dropped]
        found: set[int] = set()
        for piece in pieces:
            places = self._gone[piece.shard]
            inside = places[bisect_left(places, piece.start) : bisect_left(places, piece.stop)]
            found.update(place - piece.start + piece.first for place in inside)
        return found


def _dealt(samples: int, lanes: int, epoch: int, lane: int) -> int:
    """Samples of a lane in an epoch; the sum over lanes is `samples` by Hermite's identity."""
    return ((epoch + 1) * samples + lane) // lanes - (epoch * samples + lane) // lanes


def _draw(held: list[int], rng: np.random.Generator) -> int:
    index = int(rng.integers(len(held)))
    held[index], held[-1] = held[-1], held[index]
    return held.pop()
