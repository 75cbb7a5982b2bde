"""Training whose bytes do not depend on the order in which threads add gradients up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def deterministic() -> Iterator[None]:
    """Torch's deterministic algorithms while this lasts; also a decorator.

    Gathering texts by index has a backward that adds with atomics on several threads: without this the same seed gave
    other bytes on two threads.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
