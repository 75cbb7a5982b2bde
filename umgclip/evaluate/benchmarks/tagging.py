"""Multi-label tagging of the scenes by image-level scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from umgclip.evaluate.examples import Example, in_second_half
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.tagging import best_f1_threshold, mean_average_precision, weighted_mean_average_precision
from umgclip.metrics.weighted import Weighted, ratio

PROTOCOL = (
    "scenes; score of a thing: cosine of global embedding and class prompt, for map_dense the highest probability that "
    "a cell of the dense map gives it among all classes; average precision of each thing that at "
    "least one scene is tagged with, averaged; where negatives were verified a scene counts for the tags that were "
    "looked for, else every other tag is a negative; f1: micro F1 at the threshold given, or, for each half of the "
    "scenes (by a hash of their keys), at the one threshold that is best on the other half"
)


class Tagging:
    """Multi-label tagging of every scene over the things."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._scores: list[np.ndarray] = []
        self._dense_scores: list[np.ndarray] = []
        self._target: list[np.ndarray] = []
        self._known: list[np.ndarray] = []
        self._half: list[bool] = []

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Score the tags of a batch of scenes."""
        self._scores.append((seen.image @ self._reader.things.T).numpy())
        self._dense_scores.append(np.stack([self._best_cell(dense) for dense in seen.dense]))
        target = np.zeros((len(examples), len(self._reader.things)), dtype=np.bool_)
        known = np.ones_like(target)
        for row, example in enumerate(examples):
            target[row, list(example.tags)] = True
            if example.negative_tags is not None:
                known[row] = target[row]
                known[row, list(example.negative_tags)] = True
        self._target.append(target)
        self._known.append(known)
        self._half.extend(in_second_half(example.key) for example in examples)

    def _best_cell(self, dense: Float[Tensor, "d h w"]) -> Float[np.ndarray, " things"]:
        """Return the highest probability that a cell gives each thing, from local to global as in TagCLIP.

        Lin et al., AAAI 2024, who go on with a vote of attention maps and crops; here the best cell alone counts.
        """
        reader = self._reader
        of_cells = reader.scoring.probabilities(dense.flatten(1).T, reader.all_classes)
        best: Float[np.ndarray, " things"] = of_cells[:, : len(reader.things)].amax(0).numpy()
        return best

    def scores(self) -> tuple[Float[np.ndarray, "n things"], Bool[np.ndarray, "n things"]]:
        """Return scores and true tags in the order of the scenes; at least one scene was added."""
        return np.concatenate(self._scores), np.concatenate(self._target)

    def known(self) -> Bool[np.ndarray, "n things"]:
        """Return for each scene and thing whether it is known that the scene has the tag or lacks it."""
        return np.concatenate(self._known)

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `map`, `map_dense` and `f1`; nothing if no scene has a tag."""
        if self._measured():
            scores, target = self.scores()
            yield "map", mean_average_precision(scores, target, self.known())
            yield "map_dense", mean_average_precision(np.concatenate(self._dense_scores), target, self.known())
            right, decided = self._decisions()
            yield "f1", float(right.sum() / max(decided.sum(), 1.0))

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return the metrics as functions of the scenes' weights; the thresholds stay fixed."""
        if not self._measured():
            return 0, {}
        right, decided = self._decisions()
        metrics: dict[str, Weighted] = {
            "map": weighted_mean_average_precision(*self.scores(), self.known()),
            "map_dense": weighted_mean_average_precision(
                np.concatenate(self._dense_scores), self.scores()[1], self.known()
            ),
            "f1": lambda weights: ratio(weights @ right, weights @ decided),
        }
        return len(right), metrics

    def protocol(self) -> dict[str, Any]:
        """Return scenes, tags, negatives and the threshold of F1."""
        verified = bool(self._known) and not self.known().all()
        threshold = self._reader.params.tag_threshold
        return {
            **self._reader.protocol(),
            **self._reader.thing_protocol(),
            "images": len(self._half),
            "negatives": "verified" if verified else "all other tags",
            "f1_threshold": "best of the other half" if threshold is None else threshold,
        }

    def _measured(self) -> bool:
        return any(target.any() for target in self._target)

    def _decisions(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Return per scene twice the true positives, and the predicted plus the true tags."""
        (scores, target), known = self.scores(), self.known()
        second = np.array(self._half, dtype=np.bool_)
        threshold = np.full(len(second), self._reader.params.tag_threshold or 0.0)
        if self._reader.params.tag_threshold is None:
            for half in (half for half in (second, ~second) if half.any()):
                held = half if half.all() else ~half
                threshold[half] = best_f1_threshold(scores[held], target[held], known[held])
        predicted = (scores >= threshold[:, None]) & known
        both = 2.0 * (predicted & target).sum(axis=1)
        return both, predicted.sum(axis=1) + target.sum(axis=1).astype(np.float64)
