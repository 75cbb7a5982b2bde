"""Segments by the decoder of `umgclip segment`, and by the dense map alone: maps to be scored like any other."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.benchmark import Example
from umgclip.evaluate.panoptic_map import PanopticMap, assemble
from umgclip.evaluate.reader import Reader
from umgclip.evaluate.semantic import label_map
from umgclip.model.images import ImageInput
from umgclip.model.segmenter.files import Description
from umgclip.model.segmenter.network import Segmenter
from umgclip.model.segmenter.pyramid import FINER
from umgclip.model.segmenter.segments import Segments, resized_to, segments_of


class SegmentReader:
    """A segmenter with the class texts of a benchmark.

    Args:
        reader: the tuned model that the segmenter was trained on.
        segmenter: in eval mode.
        description: what its folder says of it.
    """

    def __init__(self, reader: Reader, segmenter: Segmenter, description: Description) -> None:
        side = description.image_px
        self._reader, self._segmenter = reader, segmenter
        self._images = ImageInput.of(segmenter.tower, side, description.resize)
        classes = reader.classes
        seen = [name in description.things for name in classes.things]
        self._seen = torch.tensor([*seen, *(name in description.stuff for name in classes.stuff)], dtype=torch.bool)

    @torch.inference_mode()
    def read(self, examples: Sequence[Example]) -> list[Segments]:
        """Segments of each image, at its own size, named among all classes."""
        placed = [self._images.place(example.pixels) for example in examples]
        queries = self._segmenter(*self._images.stack(placed))[-1]
        params = self._reader.params.decoder
        exponents = (params.exponent_seen, params.exponent_unseen)
        found = segments_of(self._segmenter, queries, self._reader.all_classes, self._seen, exponents)
        return [
            resized_to(one.within((cells[0] * FINER, cells[1] * FINER)), example.pixels.shape[:2])
            for one, (_, cells), example in zip(found, placed, examples, strict=True)
        ]


def decoder_map(reader: Reader, segments: Segments, example: Example) -> PanopticMap:
    """The panoptic map of the decoder."""
    params = reader.params.decoder
    ids, labels = segments.panoptic(params.min_score, params.min_visible)
    masks = [ids.numpy() == number for number in range(1, len(labels) + 1)]
    return assemble(masks, labels, reader.classes, example.pixels.shape[:2])


def dense_map_alone(reader: Reader, dense: Float[Tensor, "d h w"], example: Example) -> PanopticMap:
    """The panoptic map without any proposals: connected pixels of one class are a segment."""
    predicted = label_map(reader, dense, example.pixels.shape[:2])
    masks, labels = [], []
    for label in np.unique(predicted).tolist():
        count, parts = cv2.connectedComponents((predicted == label).astype(np.uint8), connectivity=4)
        masks += [parts == number for number in range(1, count)]
        labels += [label] * (count - 1)
    return assemble(masks, labels, reader.classes, example.pixels.shape[:2])
