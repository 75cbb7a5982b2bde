"""Grouping of near hashes: around the first of its kind, or to the nearest one of another dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from umgclip.sources.near_duplicates.multi_index import BITS, MultiIndex, Near

_BLOCK = 1 << 16  # queries at once
_PAIRS = 1 << 22  # most pairs held at once; a block with more is halved
_NONE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Nearest:
    """The hash that each hash belongs to, -1 for none, and the number of bits in which the two differ."""

    row: Int64[np.ndarray, "n"]
    distance: UInt8[np.ndarray, "n"]


def around_first(
    codes: UInt64[np.ndarray, "n"], distance_max: int, advance: Callable[[int], None] = lambda _: None
) -> Nearest:
    """Assign every hash to the first hash within the distance that is not assigned to another one, or to itself.

    So each is within the distance of the one that represents it, and two representatives are never within the distance
    of each other. Chains are not followed: images that look alike by small steps do not become one group.

    Args:
        codes: hashes in order of precedence.
        distance_max: bits that two hashes may differ in, 0 to 16.
        advance: called with the number of hashes done since the last call, of `codes`.
    """
    alone, first, inverse = _distinct(codes)
    index = MultiIndex(alone, distance_max)
    owner = np.arange(len(alone))
    taken = np.zeros(len(alone), bool)
    start, size = 0, _BLOCK
    while start < len(alone):
        block = start + np.flatnonzero(~taken[start : start + size])
        pairs = _later(index, alone, block, taken)
        if pairs is None and size > 1:
            size //= 2
            continue
        for query, rows in _by_query(pairs or []):
            if not taken[query]:  # not yet assigned by an earlier query of this block
                rows = rows[~taken[rows]]
                owner[rows] = query
                taken[rows] = True
        advance(min(size, len(alone) - start))
        start, size = start + size, min(2 * size, _BLOCK)
    advance(len(codes) - len(alone))
    distance = np.bitwise_count(alone ^ alone[owner])
    return Nearest(first[owner[inverse]], distance[inverse])


def to_others(
    codes: UInt64[np.ndarray, "n"],
    others: UInt64[np.ndarray, "o"],
    distance_max: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Nearest:
    """Find the nearest of `others` within the distance for each hash; of equally near ones, the first.

    Args:
        codes: hashes to look up.
        others: hashes to search.
        distance_max: bits that two hashes may differ in, 0 to 16.
        advance: called with the number of hashes done since the last call, of `codes`.
    """
    alone, first, _ = _distinct(others)
    index = MultiIndex(alone, distance_max)
    best = np.full(len(codes), _NONE)
    for start in range(0, len(codes), _BLOCK):
        queries = codes[start : start + _BLOCK]
        for pairs in index.near(queries):
            # sort by distance first, then by position among the others
            np.minimum.at(best, start + pairs.query, pairs.distance.astype(np.int64) << 48 | pairs.row)
        advance(len(queries))
    is_near = best != _NONE
    row = np.where(is_near, first[np.where(is_near, best & ((1 << 48) - 1), 0)] if len(first) else -1, -1)
    return Nearest(row, np.where(is_near, best >> 48, BITS).astype(np.uint8))


def _distinct(
    codes: UInt64[np.ndarray, "n"],
) -> tuple[UInt64[np.ndarray, "u"], Int64[np.ndarray, "u"], Int64[np.ndarray, "n"]]:
    """Return different hashes in their order, the first row of each, and each row's number among them."""
    values, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return values[order], first[order], rank[inverse]


def _later(
    index: MultiIndex, codes: UInt64[np.ndarray, "n"], block: Int64[np.ndarray, "b"], taken: Bool[np.ndarray, "n"]
) -> list[Near] | None:
    """Find pairs of a row of the block with a free row behind it; return None if there are too many to hold."""
    pairs, held = [], 0
    for near in index.near(codes[block]):
        query = block[near.query]
        is_later = (near.row > query) & ~taken[near.row]
        if is_later.any():
            pairs.append(Near(query[is_later], near.row[is_later], near.distance[is_later]))
            held += int(is_later.sum())
        if held > _PAIRS and len(block) > 1:
            return None
    return pairs


def _by_query(pairs: list[Near]) -> Iterator[tuple[int, Int64[np.ndarray, "k"]]]:
    """Yield each query with the rows found for it, queries in order."""
    if not pairs:
        return
    query = np.concatenate([near.query for near in pairs])
    row = np.concatenate([near.row for near in pairs])
    order = np.argsort(query, kind="stable")
    query, row = query[order], row[order]
    bounds = np.flatnonzero(np.diff(query, prepend=-1))
    for begin, end in zip(bounds.tolist(), [*bounds[1:].tolist(), len(query)], strict=True):
        yield int(query[begin]), row[begin:end]
