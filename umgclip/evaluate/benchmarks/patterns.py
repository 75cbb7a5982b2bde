"""Visual patterns: pairs of two images and two texts that differ in one thing, such as a colour or a count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from umgclip.errors import DataError
from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.pairs import matched
from umgclip.metrics.weighted import GroupedSums, Weighted, mean_of_shares, mean_over_items
from umgclip.records import PairSide

PROTOCOL = (
    "pairs of two images and two texts that differ in one pattern; t2i: share of pairs in which each text is nearer to "
    "its own image than to the other one (MMVP-VLM's accuracy), i2t: each image nearer to its own text, both: both of "
    "these; cosine of global embeddings; mean over patterns; ties count against the model; chance is 1/4, 1/4 and 1/6"
)
WAYS = ("t2i", "i2t")


@dataclass(frozen=True)
class _Seen:
    """One side of a pair: what its record says, and its image's key and embedding."""

    side: PairSide
    key: str
    image: Float[Tensor, " d"]


@dataclass(frozen=True)
class ChosenText:
    """The text of a pair that a model takes for an image's, and the image's own text."""

    chosen: str
    true: str

    @property
    def right(self) -> bool:
        """True if the model chose the image's own text."""
        return self.chosen == self.true


class Patterns:
    """Pairs of images that differ in one pattern; both sides must be matched right."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._waiting: dict[str, _Seen] = {}  # the first side of each pair whose second one was not seen yet
        self._pairs: dict[str, tuple[_Seen, _Seen]] = {}
        self._similarity: np.ndarray | None = None

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Count the images of a batch that are in pairs.

        Raises:
            DataError: a pair has more than two images, or two patterns; the message names the pair.
        """
        for example, image in zip(examples, seen.image, strict=True):
            for side in example.pairs:
                self._add(_Seen(side, example.key, image))

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `t2i`, `i2t` and `both`, means over patterns, and both ways of each pattern; nothing without a pair."""
        if not self._pairs:
            return
        right, pattern = self._right(), self._pattern()
        names = list(dict.fromkeys(pattern))
        for way, each in right.items():
            yield way, float(np.mean([each[pattern == name].mean() for name in names]))
        for name in names:
            for way in WAYS:
                yield f"{way}_{_slug(name)}", float(right[way][pattern == name].mean())

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return the number of pairs, and all metrics as functions of how often each pair counts."""
        if not self._pairs:
            return 0, {}
        right, pattern = self._right(), self._pattern()
        names, group = np.unique(pattern, return_inverse=True)
        metrics: dict[str, Weighted] = {}
        for way, each in right.items():
            sums = GroupedSums()
            for of_pattern, value in zip(group, each, strict=True):
                sums.add(np.array([of_pattern]), np.array([[float(value), 1.0]]))
            metrics[way] = sums.weighted(mean_of_shares)
        for number, name in enumerate(names):
            pairs = np.flatnonzero(group == number)
            for way in WAYS:
                values = right[way][pairs].astype(np.float64)
                metrics[f"{way}_{_slug(name)}"] = mean_over_items(values, pairs, len(group))
        return len(group), metrics

    def protocol(self) -> dict[str, Any]:
        """Return the number of pairs of each pattern, and of images whose partner is missing."""
        patterns = Counter(self._pattern().tolist())
        return {
            **self._reader.protocol(),
            "images": 2 * len(self._pairs),
            "pairs": len(self._pairs),
            "patterns": " | ".join(f"{name}: {count}" for name, count in sorted(patterns.items())),
            "images_without_partner": len(self._waiting),
            "mean": "over patterns",
            "ties": "count against the model",
        }

    def choices(self) -> dict[str, ChosenText]:
        """Return for each image, by its key, the text that the model chose in the first of its pairs."""
        choices: dict[str, ChosenText] = {}
        for pair, cosines in zip(self._pairs.values(), self._cosines(), strict=True):
            texts = [each.side.text for each in pair]
            for row, each in enumerate(pair):
                chosen = texts[row] if cosines[row, row] > cosines[row, 1 - row] else texts[1 - row]
                choices.setdefault(each.key, ChosenText(chosen, texts[row]))
        return choices

    def _add(self, new: _Seen) -> None:
        pair = new.side.id
        if pair in self._pairs:
            raise DataError(f"{new.key}: pair {pair}: expected two images, got a third; check the ids of the pairs")
        if pair not in self._waiting:
            self._waiting[pair] = new
            return
        first = self._waiting.pop(pair)
        if first.side.pattern != new.side.pattern:
            patterns = f"{first.side.pattern!r} and {new.side.pattern!r}"
            raise DataError(f"{new.key}: pair {pair}: expected one pattern, got {patterns}; check the ids of the pairs")
        self._pairs[pair] = (first, new)
        self._similarity = None

    def _cosines(self) -> Float[np.ndarray, "pairs 2 2"]:
        """Return the cosine of image i and text j of each pair."""
        if self._similarity is None:
            images = torch.stack([torch.stack([first.image, second.image]) for first, second in self._pairs.values()])
            texts = self._reader.texts([each.side.text for pair in self._pairs.values() for each in pair])
            self._similarity = torch.einsum("pid,pjd->pij", images, texts.unflatten(0, (-1, 2))).numpy()
        return self._similarity

    def _right(self) -> dict[str, Bool[np.ndarray, " pairs"]]:
        return matched(self._cosines())

    def _pattern(self) -> np.ndarray:
        return np.array([first.side.pattern for first, _ in self._pairs.values()], dtype=object)


def _slug(pattern: str) -> str:
    """Return a pattern's name as part of a metric's: "Color and Appearance" is `color_and_appearance`."""
    return re.sub(r"[^a-z0-9]+", "_", pattern.lower()).strip("_") or "unnamed"
