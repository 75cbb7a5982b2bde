"""Zero-shot classification of single-object images over all things, held-out ones included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.classification import mean_per_class_accuracy, rank_of_target, top_k_accuracy
from umgclip.metrics.weighted import GroupedSums, Weighted, mean_of_shares, mean_over_items

PROTOCOL = (
    "single-object images; score of a class: cosine of the image's global embedding and the mean of the class prompts' "
    "embeddings; micro top-1 and top-5 over all things; mean_per_class: top-1 of each class, averaged"
)

TOP = 5  # with as many classes or fewer, the best five always hold the true one


class Classification:
    """Zero-shot classification of every single-object image over the things."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._scores: list[np.ndarray] = []
        self._target: list[int] = []

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Score a batch of single-object images."""
        self._scores.append((seen.image @ self._reader.things.T).numpy())
        self._target.extend(example.tags[0] for example in examples)

    def scores(self) -> tuple[Float[np.ndarray, "n things"], Int64[np.ndarray, " n"]]:
        """Return scores and true labels in the order of the images; at least one image was added."""
        return np.concatenate(self._scores), np.array(self._target, dtype=np.int64)

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `top1`, `top5` (with more than five classes) and `mean_per_class`; nothing without an image."""
        if self._target:
            yield from top_k_accuracy(*self.scores(), ks=self._ks()).items()
            yield "mean_per_class", mean_per_class_accuracy(*self.scores())

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return all three metrics as functions of the images' weights."""
        if not self._target:
            return 0, {}
        scores, target = self.scores()
        rank, images = rank_of_target(scores, target), np.arange(len(target))
        by_class = GroupedSums()
        for right, label in zip(rank == 0, target, strict=True):
            by_class.add(np.array([label]), np.array([[float(right), 1.0]]))
        top = {f"top{k}": mean_over_items((rank < k).astype(np.float64), images, len(target)) for k in self._ks()}
        return len(target), {**top, "mean_per_class": by_class.weighted(mean_of_shares)}

    def _ks(self) -> tuple[int, ...]:
        """Return the k of top-k accuracy: 1, and 5 where there are more than five classes."""
        return (1, TOP) if len(self._reader.classes.things) > TOP else (1,)

    def protocol(self) -> dict[str, Any]:
        """Return the images, classes and prompts that decide the numbers."""
        return {**self._reader.protocol(), **self._reader.thing_protocol(), "images": len(self._target)}
