"""The model fitted to a run of one worker, against a run of several that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from benchmarks.scale.cost import ShardCost, fit
from benchmarks.scale.simulator import Cluster, Workload, simulate


@dataclass(frozen=True)
class Run:
    """A measured run.

    Attributes:
        workers: how many there were.
        wall_s: from the start until all shards were done.
        images: of each shard.
        seconds: that each shard took its worker; a worker's first shard may hold the loading of its models.
        roles: seconds an image by role, as far as the run tells.
        beside: seconds an image by what is no role, such as decoding and writing.
    """

    workers: int
    wall_s: float
    images: tuple[int, ...]
    seconds: tuple[float, ...]
    roles: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """What was fitted and predicted, and what came.

    Attributes:
        cost: fitted to one worker.
        startup_s: of a worker, spent on no shard: process, imports, models.
        predicted_s: wall time of the other run.
        measured_s: the same, measured.
        slowdown: seconds of the same shards beside other workers, over alone.
    """

    cost: ShardCost
    startup_s: float
    predicted_s: float
    measured_s: float
    slowdown: float

    @property
    def error(self) -> float:
        """Of the prediction; below 0: too fast."""
        return self.predicted_s / self.measured_s - 1

    @property
    def bias(self) -> float:
        """Seconds to expect for each one predicted, by the worse of wall time and shards."""
        return max(self.measured_s / self.predicted_s, self.slowdown)


def check(alone: Run, together: Run) -> Check:
    """Fit to one worker, predict several on the same shards.

    The first shard of each worker is left out of the fit: what it takes beyond the fit counts as start.

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
