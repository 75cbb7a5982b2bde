"""Near hashes found by the index, against a comparison of all with all."""

import itertools

import numpy as np
import pytest

from umgclip.sources.near_duplicates import grouping, multi_index
from umgclip.sources.near_duplicates.grouping import around_first, to_others
from umgclip.sources.near_duplicates.multi_index import MultiIndex


def hashes(count: int, changed: int, seed: int = 0) -> np.ndarray:
    """Random ones, and some of them again with up to ten bits changed."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**64, count, dtype=np.uint64)
    again = codes[rng.integers(0, count, changed)]
    for row in range(changed):
        for bit in rng.choice(64, rng.integers(0, 11), replace=False):
            again[row] ^= np.uint64(1) << np.uint64(bit)
    return rng.permutation(np.concatenate([codes, again]))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a[:, None] ^ b[None])


def slowly(codes: np.ndarray, most: int) -> list[int]:
    owner: list[int] = []
    apart = distances(codes, codes)
    for row in range(len(codes)):
        owner.append(next((first for first in range(row) if owner[first] == first and apart[first, row] <= most), row))
    return owner


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 6, 7, 9, 11])
def test_the_index_finds_what_a_comparison_of_all_finds(most):
    codes = hashes(300, 300)
    queries = codes[::3]
    nearest = {
        (q, r, d)
        for near in MultiIndex(codes, most).near(queries)
        for q, r, d in zip(*(column.tolist() for column in near), strict=True)
    }
    apart = distances(queries, codes)
    assert nearest == {(int(q), int(r), int(apart[q, r])) for q, r in np.argwhere(apart <= most)}


@pytest.mark.parametrize("bands", [3, 4, 5, 8])
def test_any_number_of_bands_finds_the_same(bands, monkeypatch):
    codes = hashes(200, 200)
    expected = around_first(codes, 6)
    monkeypatch.setattr(multi_index, "_FEWEST_BANDS", bands)
    monkeypatch.setattr(multi_index, "_MOST_BANDS", bands)
    assert around_first(codes, 6).row.tolist() == expected.row.tolist()


@pytest.mark.parametrize("most", [0, 3, 6, 10])
def test_the_first_stays(most):
    codes = hashes(200, 250)
    nearest = around_first(codes, most)
    assert nearest.row.tolist() == slowly(codes, most)
    assert nearest.distance.tolist() == np.bitwise_count(codes ^ codes[nearest.row]).tolist()
    assert nearest.distance.max() <= most


def test_a_chain_is_no_group():
    codes = np.array([0b0, 0b11, 0b1111], np.uint64)
    assert around_first(codes, 2).row.tolist() == [0, 0, 2]


def test_blocks_of_any_size_give_the_same(monkeypatch):
    codes = hashes(150, 300)
    counted: list[int] = []
    expected = around_first(codes, 6, counted.append)
    assert sum(counted) == len(codes)
    monkeypatch.setattr(grouping, "_BLOCK", 16)
    monkeypatch.setattr(grouping, "_PAIRS", 3)  # every block finds too many and is halved
    monkeypatch.setattr(multi_index, "_CANDIDATES", 2)
    assert around_first(codes, 6).row.tolist() == expected.row.tolist()


def test_a_cluster_of_many_is_not_compared_with_itself(monkeypatch):
    """Blank pages: all near each other. The first takes all of them, and none of them asks again."""
    flips = [sum(1 << bit for bit in bits) for bits in itertools.combinations(range(40), 3)]
    codes = np.array([0, *flips], np.uint64)
    monkeypatch.setattr(grouping, "_PAIRS", 20_000)
    assert not around_first(codes, 3).row.any()


def test_the_nearest_of_others():
    codes, others = hashes(100, 200, seed=1), hashes(100, 200, seed=2)
    others = np.concatenate([others, codes[:50] ^ np.uint64(0b101), codes[20:60] ^ np.uint64(1)])
    nearest = to_others(codes, others, 6)
    apart = distances(codes, others)
    near = apart.min(axis=1) <= 6
    assert nearest.row.tolist() == np.where(near, apart.argmin(axis=1), -1).tolist()
    assert nearest.distance[near].tolist() == apart.min(axis=1)[near].tolist()
    assert near.sum() >= 60


def test_nothing_to_find():
    nothing = np.zeros(0, np.uint64)
    assert around_first(nothing, 6).row.tolist() == []
    assert to_others(np.ones(2, np.uint64), nothing, 6).row.tolist() == [-1, -1]
    with pytest.raises(ValueError, match="expected 0 to 16 bits, got 17"):
        MultiIndex(nothing, 17)


def test_a_hundred_thousand():
    """Check that every planted copy is found while the index compares few of the five billion pairs."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, 100_000, dtype=np.uint64)
    copies = codes[:5000] ^ (np.uint64(1) << rng.integers(0, 64, 5000).astype(np.uint64))
    nearest = around_first(np.concatenate([codes, copies]), 4)
    assert nearest.row[100_000:].tolist() == list(range(5000))
