"""Zero-shot classification of single-object images over all things, held-out ones included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64

from umgclip.evaluate.benchmark import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.classification import top_k_accuracy

PROTOCOL = (
    "single-object images; score of a class: cosine of the image's global embedding and the mean of the class prompts' "
    "embeddings; micro top-1 and top-5 over all things"
)


class Classification:
    """Scores of every single-object image over the things."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._scores: list[np.ndarray] = []
        self._target: list[int] = []

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Count a batch of single-object images."""
        self._scores.append((seen.image @ self._reader.things.T).numpy())
        self._target.extend(example.tags[0] for example in examples)

    def scores(self) -> tuple[Float[np.ndarray, "n things"], Int64[np.ndarray, " n"]]:
        """Scores and true labels so far, in the order of the images; at least one image was added."""
        return np.concatenate(self._scores), np.array(self._target, dtype=np.int64)

    def results(self) -> Iterator[tuple[str, float]]:
        """`top1` and `top5`; nothing if there was no image."""
        if self._target:
            yield from top_k_accuracy(*self.scores()).items()
