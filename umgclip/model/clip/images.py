"""Preparation of images of any size for a model, and their position on its dense map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from umgclip.errors import InputError
from umgclip.geometry.fit import Resize, covered_cells, on_canvas, resized
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.preprocess import Fit, Preprocess, to_input
from umgclip.model.clip.tower import DenseClip


class Placed(NamedTuple):
    """An image on the model's canvas, and the rows and columns of the dense map that it covers from the top left."""

    pixels: UInt8[np.ndarray, "height width 3"]
    cells_hw: tuple[int, int]


@dataclass(frozen=True)
class ImageInput:
    """Preparation of images for one model.

    Attributes:
        size_hw: sides of the canvas in pixels.
        cell_hw_px: sides of a cell of the dense map in pixels.
        resize: see `umgclip.model.clip.preprocess.Preprocess.fit`.
        preprocess: the model's mean, deviation, interpolation and fill; its `fit` is for who chooses `resize`.
    """

    size_hw: tuple[int, int]
    cell_hw_px: tuple[int, int] = (1, 1)
    resize: Fit = "squash"
    preprocess: Preprocess = Preprocess()

    @classmethod
    def of(cls, tower: DenseClip, image_px: int | None = None, resize: Fit = "squash") -> ImageInput:
        """Return the preparation for a model at its own size, or on a square of `image_px`.

        Raises:
            InputError: the side is no multiple of the model's patch.
        """
        size = tower.image_hw if image_px is None else (image_px, image_px)
        for side, patch in zip(size, tower.patch_px, strict=True):
            if side < 1 or side % patch:
                raise InputError(f"image_px: expected a multiple of the model's patch of {patch} px, got {side}")
        return cls(size, tower.patch_px, resize, tower.preprocess)

    @property
    def of_regions(self) -> ImageInput:
        """The preparation for reading regions, on a map of the whole image and nothing else.

        `shortest` cuts away what is at the rim, so that regions are read off the squeezed image; `longest` shows the
        canvas to the model, so that they are read off a padded one.
        """
        return replace(self, resize=_resize_of(self.resize))

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the dense map."""
        return self.size_hw[0] // self.cell_hw_px[0], self.size_hw[1] // self.cell_hw_px[1]

    def place(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Placed:
        """Put an image onto the canvas."""
        height, width = self.size_hw
        how = self.preprocess.interpolation
        if self.resize in ("shortest", "longest"):
            return Placed(self._as_open_clip(pixels), self.grid_hw)
        resize = _resize_of(self.resize)
        cells = covered_cells((pixels.shape[1], pixels.shape[0]), self.grid_hw, self.cell_hw_px, resize)
        if resize == "squash":
            return Placed(resized(pixels, (width, height), how), cells)
        inner = resized(pixels, (cells[1] * self.cell_hw_px[1], cells[0] * self.cell_hw_px[0]), how)
        return Placed(on_canvas(inner, (width, height)), cells)

    def _as_open_clip(self, pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "height width 3"]:
        """Apply open_clip's own transforms, up to where pixels become fractions."""
        steps = open_clip.transform.image_transform(
            self.size_hw,
            is_train=False,
            resize_mode=self.resize,
            interpolation=self.preprocess.interpolation,
            fill_color=self.preprocess.fill,
        ).transforms
        image = Image.fromarray(pixels)
        for step in takewhile(lambda step: not isinstance(step, open_clip.transform.ToTensor), steps):
            image = step(image)
        return np.asarray(image)

    def share_of_canvas(self, cells_hw: tuple[int, int]) -> tuple[float, float]:
        """Width and height of an image as shares of the canvas."""
        rows, columns = self.grid_hw
        return cells_hw[1] / columns, cells_hw[0] / rows

    def stack(self, placed: Sequence[Placed]) -> tuple[Float[Tensor, "b 3 height width"], Bool[Tensor, "b h w"] | None]:
        """Return a batch for `DenseClip.encode_image`: normalised pixels, and which cells hold image unless all do."""
        images = to_input(np.stack([one.pixels for one in placed]), self.preprocess)
        return images, valid_cells([one.cells_hw for one in placed], self.grid_hw, self.resize)


def _resize_of(fit: Fit) -> Resize:
    return "pad" if fit in ("pad", "longest") else "squash"


def valid_cells(
    cells_hw: Sequence[tuple[int, int]], grid_hw: tuple[int, int], resize: Fit
) -> Bool[Tensor, "b h w"] | None:
    """Return which cells hold image; None where nothing is padded."""
    if resize != "pad":
        return None
    valid = torch.zeros(len(cells_hw), *grid_hw, dtype=torch.bool)
    for row, (height, width) in zip(valid, cells_hw, strict=True):
        row[:height, :width] = True
    return valid
