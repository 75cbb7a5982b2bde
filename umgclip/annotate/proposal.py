"""A place in an image, by its mask or by its box, and what was said of it so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from umgclip.geometry import boxes as box_ops
from umgclip.geometry import masks as mask_ops
from umgclip.records import Mask, Text

Pixels = UInt8[np.ndarray, "_ _ 3"]


Box = tuple[float, float, float, float]


@dataclass(eq=False)
class BoxMask:
    """A box in an image, instead of its pixels: a hundred boxes of a large image would fill the memory as masks."""

    box_xyxy: Box
    image_hw: tuple[int, int]

    def pixels(self) -> Bool[np.ndarray, "h w"]:
        """All pixels that the box touches."""
        mask = np.zeros(self.image_hw, bool)
        x0, y0, x1, y1 = self.box_xyxy
        mask[int(np.floor(y0)) : int(np.ceil(y1)), int(np.floor(x0)) : int(np.ceil(x1))] = True
        return mask


class Proposal:
    """A place in an image: mask in pixels, objectness 0 to 1, and what was said of it so far."""

    def __init__(
        self,
        mask: Bool[np.ndarray, "height width"] | Mask | BoxMask,
        score: float,
        is_stuff: bool = False,
        tags: list[Text] | None = None,
        captions: list[Text] | None = None,
    ) -> None:
        """A place.

        Args:
            mask: its pixels, plain or encoded; or a box until a masker has drawn it.
            score: objectness.
            is_stuff: a background.
            tags: what it is.
            captions: what was said of it.
        """
        self._shape = mask
        self._encoded: Mask | None = None
        self.score, self.is_stuff = score, is_stuff
        self.tags, self.captions = tags or [], captions or []
        self.embedding: Float[np.ndarray, "d"] | None = None
        self.source: str | None = None  # the model that found it, and the one that drew it; None: a built-in
        self.mask_source: str | None = None

    @classmethod
    def of_box(cls, box_xyxy: Box, image_hw: tuple[int, int], score: float) -> Proposal | None:
        """A detector's box, cut to its image; None where nothing of it is left."""
        height, width = image_hw
        x0, y0, x1, y1 = (float(v) for v in box_ops.clip(np.array([box_xyxy], np.float64), width, height)[0])
        # written as JSON and compared across machines: more digits than a hundredth of a pixel are noise
        box = round(x0, 2), round(y0, 2), round(x1, 2), round(y1, 2)
        if not (box[2] - box[0] >= 1 and box[3] - box[1] >= 1):
            return None
        return cls(BoxMask(box, image_hw), float(np.clip(score, 0, 1)))

    @property
    def has_mask(self) -> bool:
        """Whether more than a box is known."""
        return not isinstance(self._shape, BoxMask)

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """Its pixels; all of its box where nobody has drawn it."""
        if isinstance(self._shape, BoxMask):
            return self._shape.pixels()
        return mask_ops.decode(self._shape) if isinstance(self._shape, Mask) else self._shape

    @mask.setter
    def mask(self, mask: Bool[np.ndarray, "height width"]) -> None:
        self.reshape(mask)

    def draw(self, mask: Bool[np.ndarray, "height width"], source: str) -> None:
        """Take a masker's pixels, encoded."""
        self.reshape(mask_ops.encode(mask))
        self.mask_source = source

    def reshape(self, shape: Bool[np.ndarray, "height width"] | Mask | BoxMask) -> None:
        """Another mask, plain or encoded, or a box alone."""
        self._shape, self._encoded = shape, None

    def encoded(self) -> Mask | None:
        """The mask as it is stored; None where only a box is known. A plain mask is not written into afterwards."""
        if isinstance(self._shape, BoxMask):
            return None
        if isinstance(self._shape, Mask):
            return self._shape
        self._encoded = self._encoded or mask_ops.encode(self._shape)
        return self._encoded

    def is_empty(self) -> bool:
        """Whether no pixel is left."""
        if isinstance(self._shape, BoxMask):
            return False
        return mask_ops.area(self._shape) == 0 if isinstance(self._shape, Mask) else not self._shape.any()

    @property
    def box_xyxy(self) -> Box:
        """The tightest box around the mask, or the detector's, in pixels."""
        if isinstance(self._shape, BoxMask):
            return self._shape.box_xyxy
        if isinstance(self._shape, Mask):
            return mask_ops.tight_box(self._shape) or (0.0, 0.0, 0.0, 0.0)
        return mask_ops.box_of(self._shape)


def region_crop(pixels: Pixels, proposal: Proposal, context: float) -> Pixels:
    """A region's box, `context` times as large, cut to its image."""
    height, width = pixels.shape[:2]
    around = box_ops.clip(box_ops.expand(np.array([proposal.box_xyxy]), context), width, height)[0]
    x0, y0 = np.floor(around[:2]).astype(int)
    x1, y1 = np.ceil(around[2:]).astype(int)
    return pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
