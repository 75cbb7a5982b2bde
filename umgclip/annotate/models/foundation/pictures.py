"""Pixels as PIL images for the processors of transformers, which need not guess the axis of the colours then."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from umgclip.annotate.proposal import Pixels

_MOST_ASPECT = 30  # the shorter side is then 44 pixels where the longer one is scaled to 1,333


def pictures(images: Sequence[Pixels]) -> list[Image.Image]:
    """Return the pixels as RGB images of PIL."""
    return [Image.fromarray(pixels) for pixels in images]


def stretched_pictures(images: Sequence[Pixels]) -> list[Image.Image]:
    """Return the pixels as RGB images of PIL, slivers stretched across until they are 30 times as long as wide.

    Processors that keep the aspect would make an image of 1 x 4000 pixels gigabytes large, or zero pixels high. Boxes
    as shares of the sides stay right, and all other images are as `pictures` returns them.
    """
    return [_stretched(picture) for picture in pictures(images)]


def small_pictures(images: Sequence[Pixels], longest: int) -> list[Image.Image]:
    """Return the pixels as RGB images of PIL, scaled down until no side has more than `longest` pixels."""
    return [_small(picture, longest) for picture in pictures(images)]


def _small(picture: Image.Image, longest: int) -> Image.Image:
    scale = longest / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _stretched(picture: Image.Image) -> Image.Image:
    least = -(-max(picture.size) // _MOST_ASPECT)
    if min(picture.size) >= least:
        return picture
    return picture.resize((max(picture.width, least), max(picture.height, least)), Image.Resampling.BILINEAR)


def sizes(images: Sequence[Pixels]) -> list[tuple[int, int]]:
    """Return height and width of each image in pixels."""
    return [(pixels.shape[0], pixels.shape[1]) for pixels in images]
