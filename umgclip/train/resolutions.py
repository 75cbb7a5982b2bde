"""The resolutions of a run, one after the other: which steps see which side of the canvas, and how many images each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from umgclip.params import TrainParams


@dataclass(frozen=True)
class Resolution:
    """Consecutive steps at one side of the canvas.

    Attributes:
        first: number of the first step.
        image_px: side of the canvas; None: the model's own.
        batch: images in a step.
        lr_factor: factor on the learning rate of the schedule, which runs over all steps.
        key: the parameter that says so, for messages; its last part is `image_px` or `batch`.
    """

    first: int
    image_px: int | None
    batch: int
    lr_factor: float = 1.0
    key: str = "train"


def resolutions(params: TrainParams) -> tuple[Resolution, ...]:
    """Return the resolutions of a run in order; a single one without `train.stages`."""
    if not params.stages:
        return (Resolution(0, params.image_px, params.batch),)
    listed, first = [], 0
    for number, (stage, steps) in enumerate(zip(params.stages, params.stage_steps, strict=True)):
        key = f"train.stages.{number}"
        if steps:
            listed.append(Resolution(first, stage.image_px, stage.batch or params.batch, stage.lr_factor, key))
        first += steps
    return tuple(listed)


def index_at(listed: Sequence[Resolution], step: int) -> int:
    """Return the index of the resolution that a step belongs to; the last one has no end."""
    return bisect_right([one.first for one in listed], step) - 1


def steps_before(listed: Sequence[Resolution], step: int) -> list[int]:
    """Return how many of the steps before `step` belong to each resolution."""
    stops = [*(one.first for one in listed[1:]), step]
    return [max(0, min(step, stop) - one.first) for one, stop in zip(listed, stops, strict=True)]
