"""A model's preprocessing of images, as in open_clip's preprocess config: fit, interpolation, mean, deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from umgclip.errors import DataError
from umgclip.geometry.fit import Interpolation
from umgclip.model.clip.light_open_clip import open_clip

Channels = tuple[float, float, float]
Fit = Literal["squash", "pad", "shortest", "longest"]
FITS: tuple[Fit, ...] = get_args(Fit)


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing of images for one model.

    Attributes:
        mean: of each channel, of values from 0 to 1.
        std: standard deviation of each channel.
        fit: what becomes of an aspect that is not the model's. `squash` squeezes the image, `pad` keeps its aspect and
            hides the rest of the canvas from the model (umgclip's own); `shortest` cuts out the middle and `longest`
            puts the image onto the middle of a coloured canvas (open_clip's).
        interpolation: of pixels where images are resized, always with antialias.
        fill: grey level of the canvas of `longest`.
    """

    mean: Channels = open_clip.constants.OPENAI_DATASET_MEAN
    std: Channels = open_clip.constants.OPENAI_DATASET_STD
    fit: Fit = "shortest"
    interpolation: Interpolation = "bicubic"
    fill: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> Preprocess:
        """Read open_clip's `preprocess_cfg`, with open_clip's own defaults for what it omits.

        Raises:
            DataError: a value is none of those that there are; names the key.
        """
        fields = config or {}
        mean, std = (_channels(fields.get(name) or default, name) for name, default in _DEFAULTS)
        fit = fields.get("resize_mode") or "shortest"
        if fit not in FITS:
            raise DataError(f"preprocess_cfg.resize_mode: expected one of {', '.join(FITS)}, got {fit!r}")
        given = fields.get("interpolation") or "bicubic"
        if given not in ("bicubic", "bilinear", "random"):
            raise DataError(f"preprocess_cfg.interpolation: expected bicubic or bilinear, got {given!r}")
        fill = fields.get("fill_color") or 0
        if not isinstance(fill, int) or not 0 <= fill <= 255:
            raise DataError(f"preprocess_cfg.fill_color: expected a grey level from 0 to 255, got {fill!r}")
        return cls(mean, std, fit, "bilinear" if given == "bilinear" else "bicubic", fill)

    def for_open_clip(self, size_hw: tuple[int, int]) -> dict[str, Any]:
        """Return this as open_clip's `preprocess_cfg`; `pad` becomes the nearest mode, `longest`."""
        return {
            "size": list(size_hw),
            "mode": "RGB",
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "resize_mode": "longest" if self.fit == "pad" else self.fit,
            "fill_color": self.fill,
        }


_DEFAULTS = (("mean", open_clip.constants.OPENAI_DATASET_MEAN), ("std", open_clip.constants.OPENAI_DATASET_STD))


def _channels(value: Any, name: str) -> Channels:  # noqa: ANN401 - whatever a file says
    values = [value] * 3 if isinstance(value, int | float) else value
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise DataError(f"preprocess_cfg.{name}: expected three numbers, got {str(value)[:80]}")
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def to_input(
    pixels: UInt8[np.ndarray, "b height width 3"] | Sequence[UInt8[np.ndarray, "height width 3"]],
    preprocess: Preprocess | None = None,
) -> Float[Tensor, "b 3 height width"]:
    """RGB bytes to the normalised input of a tower; in numpy, so a feeding thread starts no team of others.

    Args:
        pixels: images of one size.
        preprocess: the model's; CLIP's own when None.
    """
    wanted = preprocess or Preprocess()
    mean, std = (np.array(v, np.float32)[:, None, None] * 255 for v in (wanted.mean, wanted.std))
    sides = pixels.shape[1:3] if isinstance(pixels, np.ndarray) else pixels[0].shape[:2]
    planes = np.empty((len(pixels), 3, *sides), np.float32)
    for plane, image in zip(planes, pixels, strict=True):  # one is worked on while it is in the cache
        plane[:] = image.transpose(2, 0, 1)
        plane -= mean
        plane /= std
    return torch.from_numpy(planes)
