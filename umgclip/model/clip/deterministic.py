"""Training whose bytes do not depend on the order in which threads add gradients up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def deterministic() -> Iterator[None]:
    """Torch's deterministic algorithms while this lasts; also a decorator.

    Gathering texts by index has a backward that adds with atomics on several threads: without this the same seed gave
    other bytes on two threads.
    """
    extras: Any = torch.utils.deterministic  # torch's own type stub does not know its attribute
    before = torch.are_deterministic_algorithms_enabled(), extras.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    extras.fill_uninitialized_memory = False  # a debugging aid: 7 % of a step went into filling memory with NaN
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        extras.fill_uninitialized_memory = before[1]
