"""Pixels as PIL images for the processors of transformers, which need not guess the axis of the colours then."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from umgclip.annotate.proposal import Pixels


def pictures(images: Sequence[Pixels]) -> list[Image.Image]:
    """Return the pixels as RGB images of PIL."""
    return [Image.fromarray(pixels) for pixels in images]


def sizes(images: Sequence[Pixels]) -> list[tuple[int, int]]:
    """Return height and width of each image in pixels."""
    return [(pixels.shape[0], pixels.shape[1]) for pixels in images]
