"""How images of any size reach a model, and where they lie on its dense map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from umgclip.errors import InputError
from umgclip.geometry.fit import Resize, covered_cells, on_canvas, resized
from umgclip.model.preprocess import Preprocess, to_input
from umgclip.model.tower import DenseClip


class Placed(NamedTuple):
    """An image on the model's canvas, and the rows and columns of the dense map that it covers from the top left."""

    pixels: UInt8[np.ndarray, "height width 3"]
    cells_hw: tuple[int, int]


@dataclass(frozen=True)
class ImageInput:
    """What one model takes.

    Attributes:
        size_hw: sides of the canvas in pixels.
        cell_hw_px: sides of a cell of the dense map in pixels.
        resize: `squash` squeezes images to the canvas, `pad` keeps their aspect.
        preprocess: the model's mean and deviation.
    """

    size_hw: tuple[int, int]
    cell_hw_px: tuple[int, int] = (1, 1)
    resize: Resize = "squash"
    preprocess: Preprocess = Preprocess()

    @classmethod
    def of(cls, tower: DenseClip, image_px: int | None = None, resize: Resize = "squash") -> ImageInput:
        """For a model at its own size, or on a square of `image_px`.

        Raises:
            InputError: the side is no multiple of the model's patch.
        """
        size = tower.image_hw if image_px is None else (image_px, image_px)
        for side, patch in zip(size, tower.patch_px, strict=True):
            if side % patch:
                raise InputError(f"image_px: expected a multiple of the model's patch of {patch} px, got {side}")
        return cls(size, tower.patch_px, resize, tower.preprocess)

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the dense map."""
        return self.size_hw[0] // self.cell_hw_px[0], self.size_hw[1] // self.cell_hw_px[1]

    def place(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Placed:
        """Put an image onto the canvas."""
        cells = covered_cells((pixels.shape[1], pixels.shape[0]), self.grid_hw, self.cell_hw_px, self.resize)
        height, width = self.size_hw
        if self.resize == "squash":
            return Placed(resized(pixels, (width, height)), cells)
        inner = resized(pixels, (cells[1] * self.cell_hw_px[1], cells[0] * self.cell_hw_px[0]))
        return Placed(on_canvas(inner, (width, height)), cells)

    def share_of_canvas(self, cells_hw: tuple[int, int]) -> tuple[float, float]:
        """Width and height of an image as shares of the canvas."""
        rows, columns = self.grid_hw
        return cells_hw[1] / columns, cells_hw[0] / rows

    def stack(self, placed: Sequence[Placed]) -> tuple[Float[Tensor, "b 3 height width"], Bool[Tensor, "b h w"] | None]:
        """A batch for `DenseClip.encode_image`: normalised pixels, and the cells that hold image where not all do."""
        images = to_input(np.stack([one.pixels for one in placed]), self.preprocess)
        return images, valid_cells([one.cells_hw for one in placed], self.grid_hw, self.resize)


def valid_cells(
    cells_hw: Sequence[tuple[int, int]], grid_hw: tuple[int, int], resize: Resize
) -> Bool[Tensor, "b h w"] | None:
    """Which cells hold image; None where nothing is padded."""
    if resize == "squash":
        return None
    valid = torch.zeros(len(cells_hw), *grid_hw, dtype=torch.bool)
    for row, (height, width) in zip(valid, cells_hw, strict=True):
        row[:height, :width] = True
    return valid
