"""Detections of one image as plain arrays, which need no other package."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64


@dataclass(frozen=True, eq=False)
class DetectedRegions:
    """Regions of one image with a label each, best first.

    Attributes:
        boxes_xyxy: left, top, right and bottom edge of each region, in pixels of the upright image.
        masks: pixels of each region; None where the regions were given as boxes.
        scores: confidence of each label, 0 to 1; see `umgclip.inference.detecting.scoring`.
        label_ids: position of each label in `labels`.
        labels: what was looked for.
        size_wh: width and height of the image in pixels.
    """

    boxes_xyxy: Float32[np.ndarray, "n 4"]
    masks: Bool[np.ndarray, "n height width"] | None
    scores: Float32[np.ndarray, " n"]
    label_ids: Int64[np.ndarray, " n"]
    labels: tuple[str, ...]
    size_wh: tuple[int, int]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """The label of each region, in their order."""
        return [self.labels[label] for label in self.label_ids]
