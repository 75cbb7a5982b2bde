"""A feature pyramid from maps of one resolution, as ViTDet's (Li et al., ECCV 2022): times 4, 2, 1 and 1/2.

Each finer level divides a token into places by a linear layer and a pixel shuffle. What a patch embedding has lost,
edges above all, comes from a few convolutions over the image itself, as in ViT-Adapter (Chen et al., ICLR 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor, nn

_OCTAVES = range(4)  # the last has a period of a quarter of the image
FINER = 4  # places along a side of a token, at the finest level
_FINER = (FINER, 2, 1, 1)


class Pyramid(nn.Module):
    """Four levels of `width` channels, finest first."""

    def __init__(self, channels: Sequence[int], width: int, *, pixel_stem: bool) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, channels_in),  # each image's map by itself: depths differ in scale
                nn.Conv2d(channels_in, width * finer * finer, 1),
                nn.PixelShuffle(finer),
            )
            for channels_in, finer in zip(channels, _FINER, strict=True)
        )
        self.places = nn.ModuleList(nn.Conv2d(4 * len(_OCTAVES), width, 1) for _ in _FINER)
        self.stem = PixelStem(width) if pixel_stem else None

    def forward(
        self, maps: Sequence[Float[Tensor, "b _ h w"]], images: Float[Tensor, "b 3 height wide"]
    ) -> list[Float[Tensor, "b width _ _"]]:
        """Return the levels of the pyramid."""
        levels = [into(each) for into, each in zip(self.inputs, maps, strict=True)]
        levels[-1] = F.avg_pool2d(levels[-1], 2, ceil_mode=True)
        if self.stem is not None:
            fine, coarser = self.stem(images, (levels[0].shape[2], levels[0].shape[3]))
            levels[0] = levels[0] + fine
            levels[1] = levels[1] + coarser
        return [level + at(fourier_places(level)) for at, level in zip(self.places, levels, strict=True)]


def fourier_places(like: Float[Tensor, "b _ h w"]) -> Float[Tensor, "1 waves h w"]:
    """Return each cell's position in the image, as sines and cosines of some octaves along both axes."""
    axes = [(torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in like.shape[2:]]
    waves = [
        torch.stack([f(2**octave * math.pi * axis) for octave in _OCTAVES for f in (torch.sin, torch.cos)])
        for axis in axes
    ]
    rows, columns = waves[0][:, :, None], waves[1][:, None, :]
    return torch.cat([rows.expand(-1, -1, like.shape[3]), columns.expand(-1, like.shape[2], -1)])[None]


class PixelStem(nn.Module):
    """The two finest levels from pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.first = _convolution(3, half, stride=2)
        self.fine = _convolution(half, width)
        self.coarser = _convolution(width, width, stride=2)

    def forward(
        self, images: Float[Tensor, "b 3 height wide"], size_hw: tuple[int, int]
    ) -> tuple[Float[Tensor, "b width h w"], Float[Tensor, "b width h2 w2"]]:
        """Maps of `size_hw`, and of half of it."""
        fine = self.fine(F.adaptive_avg_pool2d(self.first(images), size_hw))
        return fine, self.coarser(fine)


def _convolution(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(8, width), nn.ReLU()
    )
