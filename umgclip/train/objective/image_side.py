"""Objectives that look at images alone, with parts of their own that learn and a state of their own.

Such an objective is a module beside the tower, within the module that DDP wraps, and runs in the same `forward`. Its
loss is a mean over images, so any division of the global batch into processes and micro-batches gives the same value:
every forward counts by its share of the images. Random choices follow from an image's place in the global batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.learning.world import World
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LossWeights, TrainParams


@dataclass(frozen=True)
class Rows:
    """The images of one forward, consecutive ones of the global batch.

    Attributes:
        images: normalised pixels on the canvas.
        valid: cells of the dense map that hold image; None: all.
        step: of the training, from 0.
        first: place of the first image in the global batch.
        seed: of the training.
        views: other tensors of the same images, by the name of the objective that asked the feed for them.
        stand_in: a black image in the place of none, which must not enter any state.
    """

    images: Float[Tensor, "b 3 height width"]
    valid: Bool[Tensor, "b h w"] | None = None
    step: int = 0
    first: int = 0
    seed: int = 0
    views: Mapping[str, Float[Tensor, "b 3 side side"]] = field(default_factory=dict)
    stand_in: bool = False

    def generators(self, name: str) -> list[torch.Generator]:
        """Return a random source on the CPU for each image, whichever process and micro-batch holds it.

        Args:
            name: of the objective, so that no two of them draw the same numbers.
        """
        entropy = (self.seed, self.step, crc32(name.encode()))
        places = range(self.first, self.first + len(self.images))
        seeds = (np.random.SeedSequence([*entropy, place]).generate_state(1, np.uint64)[0] for place in places)
        return [torch.Generator().manual_seed(int(seed >> np.uint64(1))) for seed in seeds]

    def cut(self, start: int, stop: int) -> Rows:
        """Return the rows of images `start` to `stop` of these."""
        valid = None if self.valid is None else self.valid[start:stop]
        views = {name: view[start:stop] for name, view in self.views.items()}
        return replace(self, images=self.images[start:stop], valid=valid, first=self.first + start, views=views)

    def or_stand_in(self) -> Rows:
        """Return these rows; one black image if there are none, so that every parameter is in the graph."""
        if len(self.images):
            return self
        views = {name: view.new_zeros((1, *view.shape[1:])) for name, view in self.views.items()}
        black = self.images.new_zeros((1, *self.images.shape[1:]))
        return replace(self, images=black, valid=None, views=views, stand_in=True)


class ImageObjective(nn.Module, ABC):
    """A term of the loss that sees images and the tower, and may hold parameters and a state.

    Its parameters that require gradients join the optimizer and the checkpoint, at `rate_at(step)` times the learning
    rate. The tensors of `state` join the checkpoint. A frozen copy of the tower must not be a submodule: its
    parameters would be wrapped as well.
    """

    name: ClassVar[str]
    """The name of its weight, value and column."""
    rate_factor: float = 1.0
    shardable: ClassVar[bool] = False
    """Whether its parts and the tower's may be divided among processes (`train.parallel: fsdp2`)."""

    @abstractmethod
    def forward(self, tower: DenseClip, rows: Rows) -> Float[Tensor, ""]:
        """Return the mean of the loss over the images; every learnable call to the tower happens in here."""

    def state(self) -> dict[str, Tensor]:
        """Return the tensors beside parameters that a resumed run needs; a checkpoint is copied into them."""
        return dict(self.named_buffers())

    def rate_at(self, step: int) -> float:
        """Return the factor on the learning rate of this objective's own parameters in a step; 0: they stay."""
        del step
        return self.rate_factor

    def after_step(self, step: int, world: World) -> None:
        """Take in a step of the optimizer (a moving average, counts of all processes); all processes call this."""


Factory = Callable[[DenseClip, TrainParams], ImageObjective]


def require_parallel(objectives: list[ImageObjective], parallel: str) -> None:
    """Refuse to shard what must be whole.

    Raises:
        InputError: `train.parallel` is fsdp2, and an objective cannot be divided.
    """
    whole = [objective.name for objective in objectives if not objective.shardable]
    if parallel == "fsdp2" and whole:
        raise InputError(
            f"train.parallel: expected ddp with train.weights.{whole[0]} above 0, got fsdp2; use ddp "
            "(with train.accumulate or train.checkpoint_activations for less memory), or set the weight to 0"
        )


def weighted(
    values: Mapping[str, Float[Tensor, ""]], weights: LossWeights, share: float
) -> tuple[Float[Tensor, ""] | None, dict[str, float]]:
    """Sum image-side terms of one forward, each times its weight and the forward's share of the global batch.

    Returns:
        The sum with its graph, None without a term; and each term's unweighted part of its global mean.
    """
    parts = {name: value * share for name, value in values.items()}
    if not parts:
        return None, {}
    total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
    return total, dict(zip(parts, torch.stack([part.detach() for part in parts.values()]).tolist(), strict=True))
