"""Search for near hashes without comparing all pairs: multi-index hashing (Norouzi et al., CVPR 2012).

64 bits are cut into bands, and each band has a table from its value to the rows with that value. Two hashes that differ
in at most d bits differ little in at least one band: with m bands and d = m r + a, in at most r bits of one of the
first a + 1 bands or in at most r - 1 bits of one of the others. So a query looks up its own value and the few values
near it in every band, and only the rows found there are compared. With bands of about log2(n) bits the time per query
hardly grows with n.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, UInt8, UInt64

BITS = 64
DISTANCE_MOST = 16
_FEWEST_BANDS, _MOST_BANDS = 3, 16  # three bands: tables of 2**22 values
_CANDIDATES = 1 << 20  # compared at once
_LOOK_UP, _COMPARE = 1.5, 1.0  # relative costs, as measured at a million hashes


class Near(NamedTuple):
    """Pairs of near hashes: numbers of queries, numbers of indexed hashes, bits in which they differ."""

    query: Int64[np.ndarray, "p"]
    row: Int64[np.ndarray, "p"]
    distance: UInt8[np.ndarray, "p"]


@dataclass(frozen=True)
class _Band:
    """Some neighbouring bits: rows sorted by their value there, and where each value starts among them."""

    shift: int
    bits: int
    radius: int
    rows: Int32[np.ndarray, "n"]
    starts: Int32[np.ndarray, "v"]

    def values(self, codes: UInt64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        return _values(codes, self.shift, self.bits)

    def flips(self) -> Iterator[int]:
        """Yield every change of at most `radius` bits."""
        for count in range(self.radius + 1):
            for positions in itertools.combinations(range(self.bits), count):
                yield sum(1 << position for position in positions)


class MultiIndex:
    """Hashes of 64 bits, indexed for one distance; memory is 4 bytes per hash and band, plus the bands' tables.

    Args:
        codes: the hashes.
        distance_max: bits that two hashes may differ in, 0 to 16.
    """

    def __init__(self, codes: UInt64[np.ndarray, "n"], distance_max: int) -> None:
        if not 0 <= distance_max <= DISTANCE_MOST:
            raise ValueError(f"distance: expected 0 to {DISTANCE_MOST} bits, got {distance_max}")
        self._codes, self._distance_max = codes, distance_max
        number = min(range(_FEWEST_BANDS, _MOST_BANDS + 1), key=lambda m: _cost(len(codes), distance_max, m))
        self._bands = [
            _band(codes, shift, bits, radius) for shift, bits, radius in _layout(distance_max, number) if radius >= 0
        ]

    def near(self, queries: UInt64[np.ndarray, "q"]) -> Iterator[Near]:
        """Yield all pairs of a query and an indexed hash within the distance; some come more than once."""
        for band in self._bands:
            values = band.values(queries)
            for flip in band.flips():
                first = band.starts[values ^ flip].astype(np.int64)
                count = band.starts[(values ^ flip) + 1] - first
                for query, position in _expanded(first, count):
                    row = band.rows[position].astype(np.int64)
                    distance = np.bitwise_count(self._codes[row] ^ queries[query])
                    is_near = distance <= self._distance_max
                    if is_near.any():
                        yield Near(query[is_near], row[is_near], distance[is_near])


def _layout(distance_max: int, number: int) -> Iterator[tuple[int, int, int]]:
    """Yield shift, width and radius of each band."""
    radius, rest = divmod(distance_max, number)
    edges = np.linspace(0, BITS, number + 1).astype(int).tolist()
    for band, (low, high) in enumerate(itertools.pairwise(edges)):
        yield low, high - low, radius if band <= rest else radius - 1


def _cost(size: int, distance_max: int, number: int) -> float:
    """Estimate look-ups and comparisons of one query."""
    total = 0.0
    for _, bits, radius in _layout(distance_max, number):
        looks = sum(comb(bits, count) for count in range(radius + 1))
        total += looks * (_LOOK_UP + _COMPARE * size / 2**bits)
    return total


def _band(codes: UInt64[np.ndarray, "n"], shift: int, bits: int, radius: int) -> _Band:
    values = _values(codes, shift, bits)
    starts = np.zeros((1 << bits) + 1, np.int32)
    np.cumsum(np.bincount(values, minlength=1 << bits), out=starts[1:])
    return _Band(shift, bits, radius, np.argsort(values, kind="stable").astype(np.int32), starts)


def _values(codes: UInt64[np.ndarray, "n"], shift: int, bits: int) -> Int64[np.ndarray, "n"]:
    return ((codes >> np.uint64(shift)) & np.uint64((1 << bits) - 1)).astype(np.int64)


def _expanded(
    first: Int64[np.ndarray, "q"], count: Int64[np.ndarray, "q"]
) -> Iterator[tuple[Int64[np.ndarray, "c"], Int64[np.ndarray, "c"]]]:
    """Write out runs of positions, each with its query, about `_CANDIDATES` at a time."""
    hit = np.flatnonzero(count)
    ends = np.cumsum(count[hit])
    start = 0
    while start < len(hit):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _CANDIDATES, "right")))
        queries = hit[start:stop]
        sizes = count[queries]
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield np.repeat(queries, sizes), within + np.repeat(first[queries], sizes)
        start = stop
