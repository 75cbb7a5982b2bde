"""What a model wants its images to be: size, mean and deviation, as open_clip's preprocess config says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocess:
    """Mean and standard deviation of each channel, of values from 0 to 1."""

    mean: Channels = OPENAI_DATASET_MEAN
    std: Channels = OPENAI_DATASET_STD

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> Preprocess:
        """From open_clip's `preprocess_cfg`; CLIP's own where it says nothing."""
        found = config or {}
        mean, std = (tuple(float(v) for v in found.get(name) or default) for name, default in _DEFAULTS)
        return cls(_three(mean), _three(std))


_DEFAULTS = (("mean", OPENAI_DATASET_MEAN), ("std", OPENAI_DATASET_STD))


def _three(values: tuple[float, ...]) -> Channels:
    red, green, blue = values
    return red, green, blue


def to_input(
    pixels: UInt8[np.ndarray, "b height width 3"], preprocess: Preprocess | None = None
) -> Float[Tensor, "b 3 height width"]:
    """RGB bytes to the normalised input of a tower; in numpy, so a feeding thread starts no team of others.

    Args:
        pixels: images of one size.
        preprocess: the model's; CLIP's own when None.
    """
    wanted = preprocess or Preprocess()
    mean, std = (np.array(v, np.float32)[:, None, None] * 255 for v in (wanted.mean, wanted.std))
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
    planes -= mean
    planes /= std
    return torch.from_numpy(planes)
