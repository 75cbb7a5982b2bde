"""Semantic segmentation of the scenes over things and stuff, from the dense map alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int64
from torch import Tensor

from umgclip.evaluate.benchmark import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.segmentation import SemanticAccumulator

PROTOCOL = (
    "scenes; cosine of each token and each class prompt (things and stuff), upsampled bilinearly to the image, argmax; "
    "mean IoU over the classes that are true or predicted somewhere; pixels of no true region are left out"
)
IGNORE = -1


class Semantic:
    """Confusion of true and predicted class over all pixels of the scenes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._accumulator = SemanticAccumulator(max(1, len(reader.classes.names)), IGNORE)

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Count a batch of scenes."""
        for example, dense in zip(examples, seen.dense, strict=True):
            if not example.segments[1]:
                continue
            predicted = label_map(self._reader, dense, example.pixels.shape[:2])
            self._accumulator.update(predicted, true_labels(example))

    def results(self) -> Iterator[tuple[str, float]]:
        """`miou` and `pixel_accuracy`; nothing if no pixel has a true class."""
        if self._accumulator.matrix.any():
            found = self._accumulator.compute()
            yield "miou", found["miou"]
            yield "pixel_accuracy", found["pixel_accuracy"]


@torch.inference_mode()
def label_map(
    reader: Reader, dense: Float[Tensor, "d h w"], size_hw: Sequence[int]
) -> Int64[np.ndarray, "height width"]:
    """The label that the dense map gives to each pixel of an image of that size."""
    scores = torch.einsum("cd,dhw->chw", reader.all_classes, dense)
    # classes last in memory: upsampling and argmax then read in order, several times faster
    scores = scores[None].contiguous(memory_format=torch.channels_last)
    upsampled = F.interpolate(scores, tuple(size_hw), mode="bilinear", align_corners=False)
    return upsampled[0].permute(1, 2, 0).numpy().argmax(-1)


def true_labels(example: Example) -> Int64[np.ndarray, "h w"]:
    """The true label of each pixel, `IGNORE` where there is none."""
    ids, label_of = example.segments
    table = np.full(ids.max() + 1, IGNORE, dtype=np.int64)
    for segment, label in label_of.items():
        table[segment] = label
    return table[ids]
