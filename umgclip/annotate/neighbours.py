"""The concepts nearest to each concept, by the text tower of the base: "koala" for "panda" rather than "anchor".

They are computed once a run, and only if the rule `negatives` is on, so that every worker swaps the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from umgclip.data.vocabulary import Vocabulary
from umgclip.data.wording import name_key
from umgclip.model.clip.prompts import with_article
from umgclip.params import LabelParams

_SAME = 0.95  # cosine above which two names mean the same (the threshold of FG-CLIP 2, Xie et al., 2025)
_MOST = 48  # neighbours of a concept
_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest concepts of each concept, among those of its kind that are not held out.

    Attributes:
        names: the concepts.
        nearest: rows of the concepts nearest to each, the nearest first; -1 where there are no more.
        cosines: their cosines.
    """

    names: tuple[str, ...]
    nearest: Int[np.ndarray, "n k"]
    cosines: Float[np.ndarray, "n k"]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    def of(self, name: str) -> list[tuple[str, float]]:
        """Return the nearest concepts of a name with their cosines, the nearest first; none for an unknown name."""
        row = self._rows.get(name)
        if row is None:
            return []
        pairs = zip(self.nearest[row].tolist(), self.cosines[row].tolist(), strict=True)
        return [(self.names[other], cosine) for other, cosine in pairs if other >= 0]


def find_neighbours(base: Path, vocabulary: Vocabulary, params: LabelParams) -> Neighbours:
    """Embed the concepts with the base's text tower, and find the nearest of each.

    Args:
        base: folder with the base's weights.
        vocabulary: the concepts.
        params: the section `annotate.label`, for its device and precision.
    """
    # torch and the tower are needed only if the rule is on
    from umgclip.model.clip import files
    from umgclip.model.clip.images import ImageInput
    from umgclip.model.clip.placement import placement
    from umgclip.model.clip.reader import ClipReader
    from umgclip.model.clip.tower import DenseClip

    clip, _ = files.load(base)
    device, dtype = placement(params, "annotate.label")
    tower = DenseClip(clip).to(device)
    reader = ClipReader(tower, tower.tokenizer, ImageInput.of(tower), device, dtype)
    things, stuff = vocabulary.things, vocabulary.stuff
    texts = [*map(with_article, things), *stuff]
    parts = [reader.texts(texts[start : start + _ROWS]).numpy() for start in range(0, len(texts), _ROWS)]
    return nearest_names(vocabulary, np.concatenate([np.zeros((0, tower.embed_dim), np.float32), *parts]))


def nearest_names(vocabulary: Vocabulary, embeddings: Float[np.ndarray, "n d"], most: int = _MOST) -> Neighbours:
    """Find the nearest concepts of each concept among those of its kind.

    Args:
        vocabulary: the concepts; held-out ones are nobody's neighbours.
        embeddings: L2-normalised, a row for each concept, in the vocabulary's order.
        most: neighbours of a concept.
    """
    names = vocabulary.concepts
    nearest = np.full((len(names), most), -1, np.int32)
    cosines = np.zeros((len(names), most), np.float32)
    held_out = set(map(name_key, vocabulary.held_out))
    split = len(vocabulary.things)
    for kind in (range(split), range(split, len(names))):
        allowed = np.array([row for row in kind if name_key(names[row]) not in held_out], np.int32)
        _fill(kind, allowed, embeddings, nearest, cosines)
    return Neighbours(names, nearest, cosines)


def _fill(
    rows: range,
    allowed: Int[np.ndarray, " a"],
    embeddings: Float[np.ndarray, "n d"],
    nearest: Int[np.ndarray, "n k"],
    cosines: Float[np.ndarray, "n k"],
) -> None:
    """Write the nearest of the allowed rows for each of some rows, a thousand rows at a time."""
    if not len(allowed):
        return
    for start in range(rows.start, rows.stop, _ROWS):
        some = np.arange(start, min(start + _ROWS, rows.stop))
        similar = embeddings[some] @ embeddings[allowed].T
        similar[some[:, None] == allowed[None]] = -np.inf
        similar[similar > _SAME] = -np.inf
        order = np.argsort(-similar, axis=1, kind="stable")[:, : nearest.shape[1]]
        best = np.take_along_axis(similar, order, axis=1)
        width = order.shape[1]
        nearest[some, :width] = np.where(np.isfinite(best), allowed[order], -1)
        cosines[some, :width] = np.where(np.isfinite(best), best, 0.0)
