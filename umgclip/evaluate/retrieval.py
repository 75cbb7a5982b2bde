"""Image-text retrieval among the scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.benchmark import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.retrieval import recall_at_k

PROTOCOL = (
    "scenes that have captions, and all of these; cosine of global embeddings; recall at 1, 5, 10 both ways; ties and "
    "equal captions of different images count against the model"
)


class Retrieval:
    """Embeddings of all scenes and their captions."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._images: list[Tensor] = []
        self._image_of_text: list[int] = []
        self._count = 0
        self._texts: Tensor | None = None
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
        """Cosines of the images (the first few, if asked) and all captions."""
        if self._texts is None or len(self._texts) != len(self.captions):
            self._texts = self._reader.texts(self.captions)
        return (torch.cat(self._images)[:first] @ self._texts.T).numpy()

    def results(self) -> Iterator[tuple[str, float]]:
        """`i2t_r1` to `t2i_r10`; nothing if there was no caption."""
        if self.captions:
            yield from recall_at_k(self.similarity(), np.array(self._image_of_text, dtype=np.int64)).items()
