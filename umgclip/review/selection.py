"""The images that are worth most, found in one pass in memory that depends on the budget alone.

Of images that look the same (perceptual hashes within some bits) only the one that is worth most stays. A hash is
computed only of an image that is worth more than the least of those that are held, so most images are never decoded.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from umgclip.review.worth import Worth

_SPARE = 64  # images held beyond the budget and a quarter, for those that near duplicates will push out


@dataclass(frozen=True)
class WorthyImage:
    """An image that may be chosen: its key, hash of the file, shard, and what a look at it is worth."""

    key: str
    sha256: str
    shard: str
    worth: Worth


def draw_of(seed: int, sha256: str) -> float:
    """Return a number in [0, 1) that depends on the seed and the image alone: the order of a random choice."""
    digest = hashlib.blake2b(f"{seed}\0{sha256}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


class BestImages:
    """The best candidates so far, one for each look.

    Args:
        budget: images to choose.
        distance: bits of 64 within which perceptual hashes belong to images that look the same; None: any two images
            may be chosen together.
        seed: orders candidates of the same worth.
    """

    def __init__(self, budget: int, distance: int | None, seed: int) -> None:
        self._budget, self._distance, self._seed = budget, distance, seed
        self._most = budget + (0 if distance is None else budget // 4 + _SPARE)
        self._ranks: list[tuple[float, float, str]] = []  # ascending, so that the best come first
        self._held: dict[str, tuple[WorthyImage, int]] = {}
        self._blocked = np.zeros(0, np.uint64)
        self._waiting: list[int] = []
        self.alike = 0

    def block(self, code: int) -> None:
        """Choose no image that looks like the one with this perceptual hash, because people looked at that one."""
        self._waiting.append(code)
        for other in self._alike(code):
            self.alike += 1
            self._remove(other)

    def _is_blocked(self, code: int) -> bool:
        if self._waiting:
            self._blocked = np.concatenate([self._blocked, np.array(self._waiting, np.uint64)])
            self._waiting = []
        return bool((np.bitwise_count(self._blocked ^ np.uint64(code)) <= (self._distance or 0)).any())

    def offer(self, candidate: WorthyImage, hash_of: Callable[[], int | None]) -> None:
        """Take a candidate in if it is worth more than others.

        Args:
            candidate: the image.
            hash_of: computes its perceptual hash; None if the image cannot be read, which is then not taken.
        """
        rank = (-candidate.worth.value, draw_of(self._seed, candidate.sha256), candidate.sha256)
        full = len(self._ranks) >= self._most
        if candidate.sha256 in self._held or (full and rank > self._ranks[-1]):
            return
        code = 0
        if self._distance is not None:
            computed = hash_of()
            if computed is None:
                return
            code = computed
            alike = self._alike(code)
            if self._is_blocked(code) or any(other < rank for other in alike):
                self.alike += 1
                return
            self.alike += len(alike)
            for other in alike:
                self._remove(other)
        bisect.insort(self._ranks, rank)
        self._held[candidate.sha256] = (candidate, code)
        if len(self._ranks) > self._most:
            self._remove(self._ranks[-1])

    def chosen(self) -> list[WorthyImage]:
        """Return the images that are worth most, best first."""
        return [self._held[sha256][0] for _, _, sha256 in self._ranks[: self._budget]]

    def _alike(self, code: int) -> list[tuple[float, float, str]]:
        """Return the ranks of the held images that look like this one."""
        if not self._ranks:
            return []
        codes = np.fromiter((self._held[sha256][1] for _, _, sha256 in self._ranks), np.uint64, len(self._ranks))
        near = np.flatnonzero(np.bitwise_count(codes ^ np.uint64(code)) <= (self._distance or 0))
        return [self._ranks[row] for row in near.tolist()]

    def _remove(self, rank: tuple[float, float, str]) -> None:
        del self._ranks[bisect.bisect_left(self._ranks, rank)]
        del self._held[rank[2]]
