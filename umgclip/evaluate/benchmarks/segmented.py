"""Panoptic maps by the decoder of `umgclip segment`, and by the dense map alone."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.benchmarks.panoptic_map import PanopticMap, assemble
from umgclip.evaluate.benchmarks.semantic import label_map
from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Reader
from umgclip.model.clip.images import ImageInput
from umgclip.model.segmenter.files import Description
from umgclip.model.segmenter.network import Queries, Segmenter
from umgclip.model.segmenter.pyramid import FINER
from umgclip.model.segmenter.segments import Segments, resized_to, segments_of


class SegmentReader:
    """A segmenter that names its masks among the classes of a benchmark.

    Args:
        reader: the tuned model that the segmenter was trained on.
        segmenter: the decoder, in eval mode.
        description: its settings, as saved in its folder.
        placement: device and number format of the forward; results are on the CPU in float32.
    """

    def __init__(
        self,
        reader: Reader,
        segmenter: Segmenter,
        description: Description,
        placement: tuple[torch.device, torch.dtype] = (torch.device("cpu"), torch.float32),
    ) -> None:
        side = description.image_px
        self._device, dtype = placement
        self._autocast = torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32)
        self._reader, self._segmenter = reader, segmenter.to_device(self._device)
        self._images = ImageInput.of(segmenter.tower, side, description.resize)
        classes = reader.classes
        seen = [name in description.things for name in classes.things]
        both = [*seen, *(name in description.stuff for name in classes.stuff)]
        self._seen = torch.tensor(both, dtype=torch.bool, device=self._device)

    @torch.inference_mode()
    def read(self, examples: Sequence[Example]) -> list[Segments]:
        """Segment images; each gets segments at its own size, named among all classes."""
        placed = [self._images.place(example.pixels) for example in examples]
        pixels, valid = self._images.stack(placed)
        with self._autocast:
            last = self._segmenter(pixels.to(self._device), None if valid is None else valid.to(self._device))[-1]
        queries = Queries(*(part.float() for part in last))
        params = self._reader.params.decoder
        exponents = (params.exponent_seen, params.exponent_unseen)
        classes = self._reader.all_classes.to(self._device)
        segments = segments_of(self._segmenter, queries, classes, self._seen, exponents)
        return [
            resized_to(one.cpu().within((cells[0] * FINER, cells[1] * FINER)), example.pixels.shape[:2])
            for one, (_, cells), example in zip(segments, placed, examples, strict=True)
        ]


def decoder_map(reader: Reader, segments: Segments, example: Example) -> PanopticMap:
    """Turn the decoder's segments into a panoptic map."""
    params = reader.params.decoder
    ids, labels = segments.panoptic(params.min_score, params.min_visible)
    masks = [ids.numpy() == number for number in range(1, len(labels) + 1)]
    return assemble(masks, labels, reader.classes, example.pixels.shape[:2])


def dense_map_alone(reader: Reader, dense: Float[Tensor, "d h w"], example: Example) -> PanopticMap:
    """Make a panoptic map without proposals: connected pixels of one class are one segment."""
    predicted = label_map(reader, dense, example.pixels.shape[:2])
    masks, labels = [], []
    for label in np.unique(predicted).tolist():
        count, parts = cv2.connectedComponents((predicted == label).astype(np.uint8), connectivity=4)
        masks += [parts == number for number in range(1, count)]
        labels += [label] * (count - 1)
    return assemble(masks, labels, reader.classes, example.pixels.shape[:2])
