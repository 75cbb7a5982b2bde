"""Pixels as transformers' processors take them: as PIL images nothing has to guess which axis holds the colours."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from umgclip.annotate.proposal import Pixels


def pictures(images: Sequence[Pixels]) -> list[Image.Image]:
    """RGB images."""
    return [Image.fromarray(pixels) for pixels in images]


def sizes(images: Sequence[Pixels]) -> list[tuple[int, int]]:
    """Height and width of each."""
    return [(pixels.shape[0], pixels.shape[1]) for pixels in images]
