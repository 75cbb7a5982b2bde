"""One image of the page: a small picture, outlines of its true regions, and each model's guesses."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from umgclip.evaluate.benchmarks.panoptic import PanopticMap
from umgclip.evaluate.examples import Example, TrueRegion
from umgclip.evaluate.report import drawing
from umgclip.geometry.outline import svg_path

SIDE_PX = 288
_QUALITY, _SHOWN_REGIONS, _MIN_NAMED = 80, 30, 0.02


@dataclass(frozen=True)
class Guess:
    """A name that a model predicts, its probability, and whether it is the true one."""

    name: str
    probability: float
    right: bool


@dataclass(frozen=True)
class ShownRegion:
    """A true region in the picture's pixels, and one guess about it per model."""

    name: str
    held_out: bool
    box: tuple[int, int, int, int]
    path: str
    guesses: tuple[Guess, ...]


@dataclass(frozen=True)
class ShownMap:
    """Coloured areas over the picture: a PNG that is transparent elsewhere, and names with their positions."""

    title: str
    png: str
    names: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Case:
    """One image as the page shows it.

    Attributes:
        key: key of the image.
        picture: the image as a data URI.
        grid: width and height of the picture, the unit of all positions on it.
        captions: the first few captions.
        probabilities: probability of the truth, one per model.
        regions: the first true things.
        more_regions: number of true things that are not shown.
        maps: panoptic maps of the truth and of each model.
        truth: name of a single object.
        held_out: whether training never labels that object.
        guesses: best guesses of each model about a single object.
    """

    key: str
    picture: str
    grid: tuple[int, int]
    captions: tuple[str, ...]
    probabilities: tuple[float, ...]
    regions: tuple[ShownRegion, ...] = ()
    more_regions: int = 0
    maps: tuple[ShownMap, ...] = ()
    truth: str = ""
    held_out: bool = False
    guesses: tuple[tuple[str, tuple[Guess, ...]], ...] = ()


def grid_of(pixels: UInt8[np.ndarray, "h w 3"]) -> tuple[int, int]:
    """Return width and height of the picture, whose longer side is `SIDE_PX`."""
    height, width = pixels.shape[:2]
    scale = SIDE_PX / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def picture(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """Encode the image as a JPEG of at most `SIDE_PX`; a smaller image keeps its size."""
    image = Image.fromarray(pixels)
    if max(image.size) > SIDE_PX:
        image = image.resize(grid_of(pixels), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return _uri(image, "JPEG", quality=_QUALITY)


def shown_regions(
    example: Example, guesses: Sequence[Sequence[Guess]], names: Sequence[str], held_out: frozenset[str]
) -> tuple[ShownRegion, ...]:
    """Prepare the first true things of an image for the page.

    Args:
        example: the image.
        guesses: guess of each model about each thing.
        names: names of all classes.
        held_out: names that training never labels.
    """
    grid = grid_of(example.pixels)
    return tuple(
        ShownRegion(
            name=names[thing.label],
            held_out=names[thing.label] in held_out,
            box=_on_grid(thing, example, grid),
            path="" if thing.mask is None else svg_path(thing.mask, grid),
            guesses=tuple(of_model[row] for of_model in guesses),
        )
        for row, thing in enumerate(example.things[:_SHOWN_REGIONS])
    )


def hidden_regions(example: Example) -> int:
    """Count the true things beyond those that are shown."""
    return max(0, len(example.things) - _SHOWN_REGIONS)


def shown_map(title: str, panoptic: PanopticMap, names: Sequence[str], example: Example) -> ShownMap:
    """Draw a panoptic map in the classes' colours, at the size of the picture."""
    grid = grid_of(example.pixels)
    ids = cv2.resize(panoptic.ids, grid, interpolation=cv2.INTER_NEAREST)
    table = np.full(max(panoptic.label_of, default=0) + 1, -1)
    table[list(panoptic.label_of)] = list(panoptic.label_of.values())
    spots = [
        (names[label], *spot)
        for segment, label in panoptic.label_of.items()
        if (spot := _widest(ids == segment)) is not None
    ]
    return ShownMap(title, _map_png(table[ids], len(names)), tuple(spots))


def _map_png(labels: Integer[np.ndarray, "h w"], classes: int) -> str:
    """Encode a label map as a PNG with a palette, in which index 0 is transparent."""
    present = np.unique(labels[labels >= 0])
    index = np.zeros(labels.shape, np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    palette[1 : 1 + len(present[:255])] = drawing.colours(classes)[present[:255]]
    for number, label in enumerate(present[:255], start=1):
        index[labels == label] = number
    image = Image.frombytes("P", labels.shape[::-1], index.tobytes())
    image.putpalette(palette.tobytes())
    return _uri(image, "PNG", transparency=0, optimize=True)


def _widest(area: np.ndarray) -> tuple[int, int] | None:
    """Return x and y of the point farthest from an area's edge; None if the area is too small for a name."""
    if area.mean() < _MIN_NAMED:
        return None
    depth = cv2.distanceTransform(np.pad(area.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def _on_grid(thing: TrueRegion, example: Example, grid: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return x, y, width and height of a thing's box in the picture."""
    height, width = example.pixels.shape[:2]
    x0, y0, x1, y1 = thing.box_xyxy
    across, down = grid[0] / width, grid[1] / height
    left, top = round(x0 * across), round(y0 * down)
    return left, top, max(1, round(x1 * across) - left), max(1, round(y1 * down) - top)


def _uri(image: Image.Image, kind: str, **how: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
