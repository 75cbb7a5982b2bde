"""Further tensors of a batch's images, for objectives that want another size or part than the canvas shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from umgclip.data.canvas import resampled
from umgclip.data.stream import Sample
from umgclip.errors import InputError
from umgclip.model.clip.preprocess import Preprocess, to_input
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams

WINDOWS = "windows"
_SIDES = (1.5, 2.0, 3.0)  # of the window's side


@dataclass(frozen=True)
class SquareCrops:
    """Random square crops, all of a step at one side, which is drawn for the step.

    The choices follow from seed, step and stream, and from nothing that the rest of the batch draws. With `fixed` an
    image has one crop a side for the whole run, whatever the step, so that what is computed of it can be stored.

    Attributes:
        name: the objective that looks at them.
        sides: in pixels, one of which is drawn for each step.
        least: side of the smallest crop, as a share of the image's shorter side.
        mirror_share: of the crops.
        preprocess: the model's mean and deviation.
        fixed: one crop for an image and a side.
    """

    name: str
    sides: tuple[int, ...]
    least: float
    mirror_share: float
    preprocess: Preprocess
    fixed: bool = False

    def __call__(self, samples: Sequence[Sample], seed: Sequence[int]) -> Float[Tensor, "b 3 side side"]:
        """Cut one crop out of each image.

        Args:
            samples: the images of one stream.
            seed: of the training, the step and, with several streams, the stream.
        """
        salt = crc32(self.name.encode())
        side = int(np.random.default_rng([*seed[:2], salt]).choice(self.sides))
        crops = np.zeros((len(samples), side, side, 3), np.uint8)
        rng = np.random.default_rng([*seed, salt, 1])
        for row, sample in enumerate(samples):
            if self.fixed:
                rng = np.random.default_rng([seed[0], salt, side, crc32(sample.record.key.encode())])
            crops[row] = self._crop(sample.pixels, side, rng)
        return to_input(crops, self.preprocess)

    def _crop(
        self, pixels: UInt8[np.ndarray, "h w 3"], side: int, rng: np.random.Generator
    ) -> UInt8[np.ndarray, "side side 3"]:
        height, width = pixels.shape[:2]
        cut = max(1, round(min(height, width) * rng.uniform(self.least, 1.0)))
        x, y = int(rng.integers(width - cut + 1)), int(rng.integers(height - cut + 1))
        crop = resampled(pixels[y : y + cut, x : x + cut], (side, side))
        return crop[:, ::-1] if rng.random() < self.mirror_share else crop


def views_of(params: TrainParams, tower: DenseClip) -> tuple[SquareCrops, ...]:
    """Return the views that objectives of `train.weights` ask for.

    Raises:
        InputError: a side does not go with the tower.
    """
    if not params.weights.windows:
        return ()
    wanted = params.windows
    sides = _sides(wanted.sides, tower)
    return (
        SquareCrops(WINDOWS, sides, wanted.least_crop, params.mirror_share, tower.preprocess, fixed=wanted.fixed_crops),
    )


def _sides(wanted: list[int] | None, tower: DenseClip) -> tuple[int, ...]:
    patch, window = square_patch(tower), window_px(tower)
    if wanted is None:
        return tuple(round(window * share / patch) * patch for share in _SIDES)
    for side in wanted:
        if side % patch or side < window:
            raise InputError(
                f"train.windows.sides: expected multiples of the model's patch of {patch} px, from its own side of "
                f"{window} px on, got {side}"
            )
    return tuple(wanted)


def square_patch(tower: DenseClip) -> int:
    """Return the side of the tower's patch.

    Raises:
        InputError: it is no square.
    """
    height, width = tower.patch_px
    if height != width:
        raise InputError(f"train.weights.windows: expected a model of square patches, got {height} x {width} px")
    return height


def window_px(tower: DenseClip) -> int:
    """Return the side of the square window that the tower was made for, in whole patches."""
    patch = square_patch(tower)
    return min(tower.image_hw) // patch * patch
