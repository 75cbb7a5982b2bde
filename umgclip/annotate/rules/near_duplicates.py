"""Groups of images that look the same, by perceptual hash.

The hash is pHash as OpenCV's img_hash computes it (64 bits of the low frequencies of a 32 x 32 grey image). Two hashes
that differ in at most d bits agree entirely in at least one of d + 1 bands, so candidates come from equal bands and no
two images of different bands are ever compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

_BITS = 64


def perceptual_hash(pixels: UInt8[np.ndarray, "h w 3"]) -> int:
    """64 bits; images that look alike differ in few of them."""
    code = cv2.img_hash.pHash(np.ascontiguousarray(pixels[..., ::-1]))
    return int.from_bytes(code.tobytes(), "big")


def groups(hashes: Sequence[int], distance_max: int) -> list[list[int]]:
    """Rows that belong together, each group sorted, the groups by their first row; single rows are left out.

    Rows are joined through others: a and c belong together where both are near b.

    Args:
        hashes: of 64 bits.
        distance_max: bits that two hashes may differ in, below 16.
    """
    parent = list(range(len(hashes)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first_of: dict[int, int] = {}
    for row, code in enumerate(hashes):  # equal hashes first, so that a blank page's million copies are one
        parent[row] = first_of.setdefault(code, row)
    edges = np.linspace(0, _BITS, distance_max + 2).astype(int)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        buckets: dict[int, list[int]] = defaultdict(list)
        for code, row in first_of.items():
            buckets[(code >> int(low)) & ((1 << int(high - low)) - 1)].append(row)
        for rows in buckets.values():
            codes = np.array([hashes[row] for row in rows], np.uint64)
            for position, row in enumerate(rows[:-1]):
                near = np.bitwise_count(codes[position + 1 :] ^ codes[position]) <= distance_max
                for other in np.flatnonzero(near):
                    a, b = root(row), root(rows[position + 1 + int(other)])
                    parent[max(a, b)] = min(a, b)
    members: dict[int, list[int]] = defaultdict(list)
    for row in range(len(hashes)):
        members[root(row)].append(row)
    return [rows for rows in members.values() if len(rows) > 1]
