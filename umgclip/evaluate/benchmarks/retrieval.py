"""Image-text retrieval among the scenes that have captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.protocol import TEXTS_CUT
from umgclip.metrics.retrieval import retrieval_ranks_in_blocks
from umgclip.metrics.weighted import Weighted, mean_over_items

PROTOCOL = (
    "scenes that have captions, and all of these, each cut at the model's context length; cosine of global embeddings; "
    "recall at 1, 5, 10 both ways; ties and equal captions of different images count against the model"
)
_KS = (1, 5, 10)


class Retrieval:
    """Recall at k between all scenes and their captions."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._images: list[Tensor] = []
        self._image_of_text: list[int] = []
        self._count = 0
        self._texts: Tensor | None = None
        self._ranks: dict[str, np.ndarray] = {}
        self.captions: list[str] = []

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Keep the scenes of a batch that have captions."""
        captioned = [row for row, example in enumerate(examples) if example.captions]
        self._images.append(seen.image[captioned])
        for example in (examples[row] for row in captioned):
            self.captions.extend(example.captions)
            self._image_of_text.extend([self._count] * len(example.captions))
            self._count += 1

    def similarity(self, first: int | None = None) -> Float[np.ndarray, "images texts"]:
        """Return the cosines of the images, or the first few of them, with all captions."""
        return (torch.cat(self._images)[:first] @ self._embedded().T).numpy()

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `i2t_r1` to `t2i_r10`; nothing if there was no caption."""
        if self.captions:
            for way, rank in self._ranked().items():
                for k in _KS:
                    yield f"{way}_r{k}", float((rank < k).mean())

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return all metrics; images are drawn as queries with their captions, and the gallery stays complete."""
        if not self.captions:
            return 0, {}
        image_of_query = {"i2t": np.arange(self._count), "t2i": self._image_of_texts()}
        return self._count, {
            f"{way}_r{k}": mean_over_items((rank < k).astype(np.float64), image_of_query[way], self._count)
            for way, rank in self._ranked().items()
            for k in _KS
        }

    def protocol(self) -> dict[str, Any]:
        """Return the number of images and captions and the rule for ties."""
        return {
            **self._reader.protocol(),
            "images": self._count,
            "captions": len(self.captions),
            "captions_per_image": "all",
            "ties": "count against the model",
            TEXTS_CUT: len(self._reader.cut(self.captions)),
        }

    def _image_of_texts(self) -> Int64[np.ndarray, " texts"]:
        return np.array(self._image_of_text, dtype=np.int64)

    def _embedded(self) -> Tensor:
        if self._texts is None or len(self._texts) != len(self.captions):
            self._texts = self._reader.texts(self.captions)
        return self._texts

    def _ranked(self) -> dict[str, np.ndarray]:
        if not self._ranks or len(self._ranks["t2i"]) != len(self.captions):
            images, texts = torch.cat(self._images), self._embedded()
            self._ranks = retrieval_ranks_in_blocks(
                lambda block: (images[block] @ texts.T).numpy(), self._count, self._image_of_texts()
            )
        return self._ranks
