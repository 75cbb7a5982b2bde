"""Images that are put aside for measuring: training does not see them, and nobody has to know their truth."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable

import pyarrow as pa

from umgclip.stage import LEFT_OUT


def chosen(keys: Iterable[str], count: int) -> list[str]:
    """Return the keys of smallest SHA-256, at most `count`; other images do not change an image's place.

    Memory holds `count` of them, however many keys come.
    """
    smallest: list[tuple[int, str]] = []  # a heap with the largest hash first
    held: set[str] = set()
    for key in keys if count else ():
        place = -int.from_bytes(hashlib.sha256(key.encode()).digest(), "big")
        if key in held or (len(smallest) == count and place < smallest[0][0]):
            continue
        held.add(key)
        heapq.heappush(smallest, (place, key))
        if len(smallest) > count:
            held.discard(heapq.heappop(smallest)[1])
    return [key for _, key in sorted(smallest, reverse=True)]


def put_aside(quarantine: pa.Table, keys: Iterable[str | None], count: int) -> pa.Table:
    """Return the quarantine with a row for each image that is put aside, among those that no row has yet.

    Args:
        quarantine: rows of images and regions with a fault.
        keys: of all images; None stands for an image without one.
        count: most images that are put aside.
    """
    if not count:
        return quarantine
    faulty = {row["key"] for row in quarantine.select(["key", "region_id"]).to_pylist() if row["region_id"] is None}
    rows = [
        {"key": key, "region_id": None, "stage": "validate", "reason": LEFT_OUT, "detail": "put aside for measuring"}
        for key in chosen((key for key in keys if isinstance(key, str) and key not in faulty), count)
    ]
    return pa.concat_tables([quarantine, pa.Table.from_pylist(rows, schema=quarantine.schema)])
