"""Training targets of the segmenter: disjoint masks with labels, transformed together with the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from umgclip.data.canvas import random_window, relit, resampled, square_canvas
from umgclip.data.sides import may_be_mirrored
from umgclip.data.stream import Sample
from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.geometry.fit import Resize, covered_cells, on_canvas
from umgclip.model.clip.images import valid_cells
from umgclip.model.clip.preprocess import Preprocess, to_input
from umgclip.model.clip.tower import DenseClip
from umgclip.model.segmenter.pyramid import FINER
from umgclip.params.segment import SegmentParams
from umgclip.records import Region

_MIN_INSIDE = 0.3  # share of a mask that a random window must hold
_MOSTLY = 0.7  # share of a thing without a name that others leave
UNNAMED = -100  # where a row of the label list stands: cross-entropy passes over it
_MIN_PLACES = 1.0  # least area of a target, in places
Label = tuple[str, bool]  # a name, and whether it is stuff's


@dataclass(frozen=True)
class Targets:
    """A batch: images on the canvas, and for each image masks (places covered, 0 to 1) with rows of the label list."""

    images: Float[Tensor, "b 3 height width"]
    masks: list[Float[Tensor, "_ h w"]]
    labels: list[Int[Tensor, " _"]]
    valid: Bool[Tensor, "b gh gw"] | None = None


@dataclass(frozen=True)
class Canvas:
    """The settings by which samples become a batch: fields of `SegmentParams` in a model's units."""

    image_px: int
    grid: int
    unnamed: bool
    min_window: float
    relight: float
    mirror_share: float
    resize: Resize
    preprocess: Preprocess

    @classmethod
    def of(cls, params: SegmentParams, tower: DenseClip) -> Canvas:
        """Return the canvas for a model.

        Raises:
            InputError: the side is no multiple of the model's patch, or the patch is no square.
        """
        side, grid = square_canvas(params.image_px, tower, "segment.image_px")
        unnamed = params.unnamed and params.matching == "places"
        window, relight, mirror = params.min_window, params.relight, params.mirror_share
        return cls(side, grid, unnamed, window, relight, mirror, params.resize, tower.preprocess)


def label_of(region: Region) -> Label | None:
    """Return a region's label, or None if it has none."""
    return (region.tags[0].text, region.is_stuff) if region.tags else None


def disjoint(
    regions: Sequence[Region], size_hw: tuple[int, int], *, unnamed: bool
) -> list[tuple[Label | None, Bool[np.ndarray, "h w"]]]:
    """Return masks that share no pixel, with their labels.

    A thing covers stuff, a named thing one without a name, a better or later one a worse or earlier one. Stuff of one
    name is one mask. A thing without a name is kept if most of it is left.

    Args:
        regions: of an image; those without a mask are passed over.
        size_hw: of the image.
        unnamed: whether regions without a name count.

    Raises:
        InputError: a mask is of another size.
    """
    owner = np.full(size_hw, -1)
    masks: dict[int, np.ndarray] = {}
    stuff: dict[Label, int] = {}
    for number, region in sorted(enumerate(regions), key=_rank):
        if region.mask is None or (label_of(region) is None and not unnamed):
            continue
        if tuple(region.mask.size) != size_hw:
            raise InputError(f"region {region.id}: expected a mask of size {size_hw}, got {region.mask.size}")
        label = label_of(region)
        masks[number] = mask_ops.decode(region.mask)
        owner[masks[number]] = number if label is None or not region.is_stuff else stuff.setdefault(label, number)
    visible = []
    for number, mask in masks.items():
        label, left = label_of(regions[number]), owner == number
        whole = label is not None or regions[number].is_stuff or left.sum() >= _MOSTLY * mask.sum()
        if whole and left.any():
            visible.append((label, left))
    return visible


def _rank(numbered: tuple[int, Region]) -> tuple[bool, bool, float]:
    """Return a sort key that puts covering regions after covered ones."""
    region = numbered[1]
    return not region.is_stuff, bool(region.tags), region.score if not region.tags else 0.0


@dataclass(frozen=True)
class PlacedSample:
    """A sample that was placed on the canvas.

    `cells_hw` are rows and columns of the token grid that hold image; of `unmirrored` ones a text says left or
    right.
    """

    pixels: UInt8[np.ndarray, "side side 3"]
    masks: Float[np.ndarray, "r h w"]
    labels: list[Label | None]
    cells_hw: tuple[int, int]
    unmirrored: bool


def place(sample: Sample, dropped: frozenset[str], canvas: Canvas, rng: np.random.Generator) -> PlacedSample:
    """Place a random window of a sample on the canvas, mirrored at times.

    Raises:
        InputError: a mask does not go with the image.
    """
    pixels = sample.pixels
    regions = [region for region in sample.record.regions or [] if region.id not in dropped]
    visible = disjoint(regions, (pixels.shape[0], pixels.shape[1]), unnamed=canvas.unnamed)
    x0, y0, x1, y1 = random_window(pixels.shape[1], pixels.shape[0], canvas.min_window, rng)
    cell = canvas.image_px // canvas.grid
    cells = covered_cells((x1 - x0, y1 - y0), (canvas.grid, canvas.grid), (cell, cell), canvas.resize)
    labels, masks = [], []
    for label, mask in visible:
        part = mask[y0:y1, x0:x1]
        if part.sum() < _MIN_INSIDE * mask.sum():
            continue
        placed = np.zeros((canvas.grid * FINER, canvas.grid * FINER), np.float32)
        fine = mask_ops.to_grid(part, (cells[0] * FINER, cells[1] * FINER))
        placed[: fine.shape[0], : fine.shape[1]] = fine
        if placed.sum() >= _MIN_PLACES:
            labels.append(label)
            masks.append(placed)
    pixels = resampled(pixels[y0:y1, x0:x1], (cells[1] * cell, cells[0] * cell), canvas.preprocess.interpolation)
    pixels = relit(pixels, canvas.relight, rng)
    mirror = may_be_mirrored(sample.record)
    if rng.random() < canvas.mirror_share and mirror:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
        wide = cells[1] * FINER
        for mask in masks:
            mask[:, :wide] = mask[:, :wide][:, ::-1].copy()
    empty = np.zeros((0, canvas.grid * FINER, canvas.grid * FINER), np.float32)
    side = (canvas.image_px, canvas.image_px)
    return PlacedSample(on_canvas(pixels, side), np.stack(masks) if masks else empty, labels, cells, not mirror)


def collate(samples: Sequence[PlacedSample], canvas: Canvas, row_of_label: dict[Label, int]) -> Targets:
    """Collate samples into a batch; a label without a row counts as none."""
    masks, labels = [], []
    for one in samples:
        masks.append(torch.from_numpy(one.masks))
        rows = [UNNAMED if label is None else row_of_label.get(label, UNNAMED) for label in one.labels]
        labels.append(torch.tensor(rows, dtype=torch.long))
    images = to_input(np.stack([one.pixels for one in samples]), canvas.preprocess)
    cells = [one.cells_hw for one in samples]
    return Targets(images, masks, labels, valid_cells(cells, (canvas.grid, canvas.grid), canvas.resize))
