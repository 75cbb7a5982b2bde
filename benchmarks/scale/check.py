"""Check the model, fitted to a run of one worker, against a run of several workers that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from benchmarks.scale.cost import ShardCost, fit
from benchmarks.scale.simulator import Cluster, Workload, simulate


@dataclass(frozen=True)
class Run:
    """A measured run of one or more workers.

    Attributes:
        workers: number of workers.
        wall_s: seconds from the start until all shards were done.
        images: images of each shard.
        seconds: seconds of each shard; a worker's first shard may include the loading of its models.
        roles: seconds per image by role, as far as they are known.
        beside: seconds per image by other work, such as decoding and writing.
    """

    workers: int
    wall_s: float
    images: tuple[int, ...]
    seconds: tuple[float, ...]
    roles: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """The fitted cost, the prediction and the measurement.

    Attributes:
        cost: cost fitted to one worker.
        startup_s: start-up of a worker: process, imports, models.
        predicted_s: predicted wall time of the other run.
        measured_s: measured wall time of the other run.
        slowdown: seconds of the same shards next to other workers, relative to one worker alone.
    """

    cost: ShardCost
    startup_s: float
    predicted_s: float
    measured_s: float
    slowdown: float

    @property
    def error(self) -> float:
        """The relative error of the prediction; below 0 if it is too fast."""
        return self.predicted_s / self.measured_s - 1

    @property
    def bias(self) -> float:
        """The expected seconds per predicted second, by the worse of wall time and shards."""
        return max(self.measured_s / self.predicted_s, self.slowdown)


def check(alone: Run, together: Run) -> Check:
    """Fit the model to one worker, predict several workers on the same shards, and compare.

    The first shard of each worker is excluded from the fit: its time beyond the fit counts as start-up.

    Raises:
        ValueError: `alone` is not a run of one worker, the shards differ, or there are too few of them.
    """
    if alone.workers != 1 or alone.images != together.images:
        raise ValueError(f"expected one worker and the same shards, got {alone.workers} and {together.workers} workers")
    first = together.workers
    if len(alone.images) <= first:
        raise ValueError(f"expected more shards than workers, got {len(alone.images)} for {first}")
    cost = fit(alone.images[1:], alone.seconds[1:])
    startup = max(0.0, alone.wall_s - sum(alone.seconds[1:]) - cost.seconds(alone.images[0]))
    plain = replace(cost, spread=(1.0,))
    predicted = simulate(Workload(together.images), plain, Cluster(together.workers, startup))
    slowdown = sum(together.seconds[first:]) / sum(alone.seconds[first:])
    return Check(cost, startup, predicted.wall_s, together.wall_s, slowdown)
