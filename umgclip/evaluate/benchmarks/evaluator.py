"""What every benchmark here is: fed batch by batch, it yields (name, value) and knows nothing of files or tracking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Seen
from umgclip.metrics.weighted import Weighted


@runtime_checkable
class Evaluator(Protocol):
    """One benchmark of one model."""

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Count a batch of images, given what the model made of them."""

    def results(self) -> Iterator[tuple[str, float]]:
        """Names and values, shares of 1; nothing where there was nothing to measure."""

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """The number of images measured, and the metrics that get an interval as functions of their weights."""

    def protocol(self) -> dict[str, Any]:
        """How it was measured: what another result has to share to be compared with this one."""
