"""The interface of a benchmark, which takes batches and yields (name, value), without files or tracking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Seen
from umgclip.metrics.weighted import Weighted


@runtime_checkable
class Evaluator(Protocol):
    """One benchmark, fed with the images of one model."""

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Count a batch of images and the model's embeddings of them."""

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield names and values, fractions of 1; nothing if there was nothing to measure."""

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return the number of images, and each metric with an interval as a function of the images' weights."""

    def protocol(self) -> dict[str, Any]:
        """Return how it was measured: the fields that a comparable result has to share."""
