"""Parts of the pictures: overlays with names, boxes, rows of images and text; without pyplot's global state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Integer, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

DPI = 100
_ROW_IN, _TITLE_IN = 1.3, 0.3  # height of a row and of the titles above, inches
GREEN, RED, GREY = "#1a7f37", "#b42318", "#57606a"
_MIN_NAMED = 0.015  # an area with a smaller share of the image gets no name
_GOLDEN = 0.618034


@dataclass(frozen=True)
class Line:
    """A line of text beside an image; `right` is whether it is correct, None if that does not apply."""

    text: str
    right: bool | None = None


def colours(count: int) -> UInt8[np.ndarray, "count 3"]:
    """Return colours of class indices, with neighbours far apart in hue."""
    index = np.arange(count)
    hsv = np.stack([(index * _GOLDEN) % 1, 0.55 + 0.4 * (index % 3) / 2, 0.95 - 0.3 * (index % 4) / 3], axis=1)
    return (hsv_to_rgb(hsv) * 255).astype(np.uint8)


def overlay(
    pixels: UInt8[np.ndarray, "h w 3"],
    labels: Integer[np.ndarray, "h w"],
    palette: UInt8[np.ndarray, "classes 3"],
    opacity: float = 0.6,
) -> UInt8[np.ndarray, "h w 3"]:
    """Blend the image with the colours of its labels; pixels of a negative label stay unchanged."""
    blended = (1 - opacity) * pixels + opacity * palette[np.maximum(labels, 0)]
    return np.where(labels[..., None] >= 0, blended, pixels).astype(np.uint8)


def name_areas(axes: Axes, ids: Integer[np.ndarray, "h w"], names: dict[int, str]) -> None:
    """Write each area's name where the area is widest; small areas stay unnamed."""
    for segment, name in names.items():
        area = ids == segment
        if area.mean() < _MIN_NAMED:
            continue
        # pad with zeros, so that the image's edge counts as an edge of the area
        padded = np.pad(area.astype(np.uint8), 1)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        axes.text(
            float(x), float(y), name, fontsize=6.5, ha="center", va="center", color="white", clip_on=True,
            path_effects=[withStroke(linewidth=1.6, foreground="black")],
        )  # fmt: skip


def boxes(axes: Axes, boxes_xyxy: Sequence[Sequence[float]], names: Sequence[str]) -> None:
    """Draw boxes with a short name in their corner."""
    palette = colours(len(boxes_xyxy)) / 255
    for (x0, y0, x1, y1), name, colour in zip(boxes_xyxy, names, palette, strict=True):
        axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, linewidth=1.6)
        axes.text(
            x0, y0, name, fontsize=7, va="top", color="white",
            bbox={"boxstyle": "square,pad=0.15", "facecolor": (*colour, 0.9), "linewidth": 0},
        )  # fmt: skip


def image(axes: Axes, pixels: UInt8[np.ndarray, "h w 3"], title: str = "") -> None:
    """Show an image without axes, in a frame that later drawing does not change."""
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xlim(-0.5, pixels.shape[1] - 0.5)
    axes.set_ylim(pixels.shape[0] - 0.5, -0.5)
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=8)


def rows_with_text(rows: int, columns: int, width_in: float) -> tuple[Figure, list[Axes]]:
    """Make a figure with one image per row at the left, and columns of text `width_in` inches wide beside it."""
    height, width = rows * _ROW_IN + _TITLE_IN, _ROW_IN + columns * width_in
    figure = Figure(figsize=(width, height), dpi=DPI)
    side = _ROW_IN - 0.1
    axes = [
        figure.add_axes((0.05 / width, ((rows - 1 - row) * _ROW_IN + 0.05) / height, side / width, side / height))
        for row in range(rows)
    ]
    return figure, axes


def lines_beside(axes: Axes, texts: Sequence[Line], offset_in: float, title: str = "") -> None:
    """Write lines from top to bottom, `offset_in` inches right of an image; correct ones green, wrong ones red."""
    left = 1 + (offset_in + 0.1) / (_ROW_IN - 0.1)
    if title:
        axes.text(left, 1.04, title, fontsize=8, transform=axes.transAxes)
    for number, line in enumerate(texts):
        colour = {True: GREEN, False: RED, None: GREY}[line.right]
        axes.text(left, 0.96 - 0.16 * number, line.text, fontsize=7.5, va="top", color=colour, transform=axes.transAxes)


def grid(rows: int, columns: int, cell_in: float) -> tuple[Figure, np.ndarray]:
    """Make a figure of `rows` x `columns` axes, each `cell_in` inches wide and high, with space for titles above."""
    height = rows * cell_in + _TITLE_IN
    figure = Figure(figsize=(columns * cell_in, height), dpi=DPI)
    edges = {"left": 0.01, "right": 0.99, "bottom": 0.01, "top": 1 - _TITLE_IN / height, "wspace": 0.04, "hspace": 0.04}
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=edges)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 256 colours, a third of the size of full colour; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    buffer.seek(0)
    with Image.open(buffer) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, format="PNG")
