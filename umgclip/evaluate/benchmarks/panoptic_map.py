"""Panoptic maps: the disjoint segments of an image with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32

from umgclip.evaluate.examples import Classes

Masks = Sequence[Bool[np.ndarray, "h w"]]


@dataclass(frozen=True)
class PanopticMap:
    """The segment id of each pixel (0: none) and the label of each segment."""

    ids: Int32[np.ndarray, "h w"]
    label_of: dict[int, int]


def assemble(masks: Masks, labels: Sequence[int], classes: Classes, size_hw: tuple[int, ...]) -> PanopticMap:
    """Merge disjoint masks into one map, in which masks of the same stuff are one segment."""
    ids = np.zeros(size_hw, dtype=np.int32)
    label_of: dict[int, int] = {}
    segment_of_stuff: dict[int, int] = {}
    for number, (mask, label) in enumerate(zip(masks, labels, strict=True), start=1):
        segment = number if classes.is_thing(label) else segment_of_stuff.setdefault(label, number)
        ids[mask] = segment
        label_of[segment] = label
    return PanopticMap(ids, label_of)
