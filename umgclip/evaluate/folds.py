"""Two halves of a benchmark, for what has to be chosen on other images than it is measured on."""

from __future__ import annotations

import hashlib


def in_second_half(key: str) -> bool:
    """Whether an image is in the second half; by its key alone, whatever the order of the files."""
    return bool(hashlib.sha256(key.encode()).digest()[0] & 1)
