"""Multi-label tagging of the scenes by image-level scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from umgclip.evaluate.benchmark import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.tagging import mean_average_precision

PROTOCOL = (
    "scenes; score of a thing: cosine of global embedding and class prompt; average precision of each thing that at "
    "least one scene is tagged with, averaged"
)


class Tagging:
    """Scores and true tags of every scene over the things."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._scores: list[np.ndarray] = []
        self._target: list[np.ndarray] = []

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Count a batch of scenes."""
        self._scores.append((seen.image @ self._reader.things.T).numpy())
        target = np.zeros((len(examples), len(self._reader.things)), dtype=np.bool_)
        for row, example in enumerate(examples):
            target[row, list(example.tags)] = True
        self._target.append(target)

    def scores(self) -> tuple[Float[np.ndarray, "n things"], Bool[np.ndarray, "n things"]]:
        """Scores and true tags so far, in the order of the scenes; at least one scene was added."""
        return np.concatenate(self._scores), np.concatenate(self._target)

    def results(self) -> Iterator[tuple[str, float]]:
        """`map`; nothing if no scene has a tag."""
        if any(target.any() for target in self._target):
            yield "map", mean_average_precision(*self.scores())
