"""A region of an image by its mask or its box, and what the roles have added to it so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8

from umgclip.geometry import boxes as box_ops
from umgclip.geometry import masks as mask_ops
from umgclip.records import Mask, Region, Text

Pixels = UInt8[np.ndarray, "_ _ 3"]


Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class BoxMask:
    """A box in an image instead of a mask: the masks of a hundred boxes of a large image would fill the memory."""

    box_xyxy: Box
    image_hw: tuple[int, int]

    def pixels(self) -> Bool[np.ndarray, "h w"]:
        """Return all pixels that the box touches."""
        mask = np.zeros(self.image_hw, bool)
        x0, y0, x1, y1 = self.box_xyxy
        mask[int(np.floor(y0)) : int(np.ceil(y1)), int(np.floor(x0)) : int(np.ceil(x1))] = True
        return mask


@dataclass(frozen=True, eq=False)
class PixelMask:
    """A mask as an array, which is encoded and measured at most once; nothing may write into the array."""

    pixels: Bool[np.ndarray, "height width"]

    @cached_property
    def encoded(self) -> Mask:
        """The mask as compressed COCO RLE."""
        return mask_ops.encode(self.pixels)

    @cached_property
    def box_xyxy(self) -> Box:
        """The tightest box around the mask, in pixels."""
        return mask_ops.box_of(self.pixels)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A region of an image. Roles return new proposals (`dataclasses.replace`) and never change one.

    Attributes:
        shape: its mask, as an array or encoded; a box until a masker has drawn it.
        score: objectness, 0 to 1.
        is_stuff: whether it is a background.
        tags: what it is.
        captions: descriptions of it.
        embedding: the base's embedding of its crop, (d,); None: not computed yet.
        source: the model that found it; None: a built-in.
        mask_source: the model that drew its mask; None: a built-in, or nobody.
        point_xy: where a model pointed at it, in pixels; None: it gave a box or a mask.
        index: its number among all proposals of its image, which its copies share; -1: it is in no draft.
    """

    shape: PixelMask | Mask | BoxMask
    score: float
    is_stuff: bool = False
    tags: tuple[Text, ...] = ()
    captions: tuple[Text, ...] = ()
    embedding: Float[np.ndarray, "d"] | None = None
    source: str | None = None
    mask_source: str | None = None
    point_xy: tuple[float, float] | None = None
    index: int = -1

    @classmethod
    def of_mask(
        cls, mask: Bool[np.ndarray, "height width"], score: float, is_stuff: bool = False, tags: tuple[Text, ...] = ()
    ) -> Proposal:
        """Return a region with this mask, which nothing may write into afterwards."""
        return cls(PixelMask(mask), score, is_stuff, tags)

    @classmethod
    def of_box(cls, box_xyxy: Box, image_hw: tuple[int, int], score: float) -> Proposal | None:
        """Return a detector's box, clipped to its image; None where less than a pixel is left of it."""
        height, width = image_hw
        x0, y0, x1, y1 = (float(v) for v in box_ops.clip(np.array([box_xyxy], np.float64), width, height)[0])
        # written as JSON and compared across machines: more digits than a hundredth of a pixel are noise
        box = round(x0, 2), round(y0, 2), round(x1, 2), round(y1, 2)
        if not (box[2] - box[0] >= 1 and box[3] - box[1] >= 1):
            return None
        return cls(BoxMask(box, image_hw), float(np.clip(score, 0, 1)))

    @classmethod
    def of_region(cls, region: Region, image_hw: tuple[int, int], index: int) -> Proposal:
        """Return a written region as roles are given it; `index` is its number among the proposals of its image."""
        shape = region.mask or BoxMask(region.box_xyxy, image_hw)
        texts = tuple(region.tags or ()), tuple(region.captions or ())
        return cls(shape, region.score, region.is_stuff, *texts, index=index)

    @property
    def has_mask(self) -> bool:
        """True if the region has a mask, rather than a box alone."""
        return not isinstance(self.shape, BoxMask)

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """The pixels of the region; all of its box where it has no mask."""
        if isinstance(self.shape, BoxMask):
            return self.shape.pixels()
        return mask_ops.decode(self.shape) if isinstance(self.shape, Mask) else self.shape.pixels

    def drawn(self, mask: Bool[np.ndarray, "height width"], source: str) -> Proposal:
        """Return the region with a mask that the model `source` drew; the mask is stored encoded."""
        return replace(self, shape=mask_ops.encode(mask), mask_source=source)

    def encoded(self) -> Mask | None:
        """Return the mask as compressed COCO RLE, as it is stored; None where the region has only a box."""
        if isinstance(self.shape, BoxMask):
            return None
        return self.shape if isinstance(self.shape, Mask) else self.shape.encoded

    def is_empty(self) -> bool:
        """Return whether the mask has no pixel."""
        if isinstance(self.shape, BoxMask):
            return False
        return mask_ops.area(self.shape) == 0 if isinstance(self.shape, Mask) else not self.shape.pixels.any()

    @property
    def box_xyxy(self) -> Box:
        """The tightest box around the mask, or the detector's box, in pixels."""
        if isinstance(self.shape, BoxMask):
            return self.shape.box_xyxy
        if isinstance(self.shape, Mask):
            return mask_ops.tight_box(self.shape) or (0.0, 0.0, 0.0, 0.0)
        return self.shape.box_xyxy


def region_crop(pixels: Pixels, proposal: Proposal, context: float) -> Pixels:
    """Return the pixels in a region's box, enlarged `context` times and clipped to the image."""
    height, width = pixels.shape[:2]
    around = box_ops.clip(box_ops.expand(np.array([proposal.box_xyxy]), context), width, height)[0]
    x0, y0 = np.floor(around[:2]).astype(int)
    x1, y1 = np.ceil(around[2:]).astype(int)
    return pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
