"""The output of SAM 3 for one image and one word: scores, boxes, and masks of the size of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from umgclip.annotate.rejected import Rejected
from umgclip.records import Text


@dataclass(frozen=True)
class Sam3Outputs:
    """The output for one image and one word, in float32: the masks on the model's device, the rest on the CPU.

    Attributes:
        scores: of each query, 0 to 1: that it is the word, times that the image has it at all.
        boxes: `xyxy` of each query, as shares of the image's sides.
        masks: logits of each query.
        stuff: the probability of each pixel to be what the word names.
        presence: the probability that the image has what the word names.
    """

    scores: Float[Tensor, "q"]
    boxes: Float[Tensor, "q 4"]
    masks: Float[Tensor, "q h w"]
    stuff: Float[Tensor, "h w"]
    presence: float

    @classmethod
    def of(cls, outputs: Any, row: int) -> Sam3Outputs:  # noqa: ANN401 - an output of transformers
        """Return one row of a `Sam3ImageSegmentationOutput`."""
        presence = outputs.presence_logits[row].float().sigmoid().reshape(()).cpu()
        return cls(
            outputs.pred_logits[row].float().sigmoid().cpu() * presence,
            outputs.pred_boxes[row].float().cpu(),
            outputs.pred_masks[row].float(),
            outputs.semantic_seg[row, 0].float().sigmoid(),
            float(presence),
        )

    def mask(self, row: int, image_hw: tuple[int, int], least: float) -> Bool[np.ndarray, "h w"]:
        """Return the pixels that a query has with a probability above `least`."""
        return (at_size(self.masks[row].sigmoid(), image_hw) > least).cpu().numpy()

    def empty(self, row: int, word: str, image_hw: tuple[int, int], source: str) -> Rejected:
        """Return a query whose mask has no pixel, as it is refused."""
        height, width = image_hw
        box = [
            round(share * side, 2) for share, side in zip(self.boxes[row].tolist(), (width, height) * 2, strict=True)
        ]
        score = float(self.scores[row])
        text = Text(text=word, score=score, source=source)
        return Rejected("proposer", "empty_mask", text, score=score, source=source, detail=f"box {box}")


def at_size(probabilities: Float[Tensor, "h w"], image_hw: tuple[int, int]) -> Float[Tensor, "height width"]:
    """Resize one mask, as transformers resizes all: those of a large image would not fit into memory together."""
    resized = torch.nn.functional.interpolate(
        probabilities[None, None], size=image_hw, mode="bilinear", align_corners=False
    )
    return resized[0, 0]
