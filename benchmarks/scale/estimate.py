"""Extrapolate with an error: resample measured shards, then fit and simulate many times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.scale.cost import ShardCost, fit
from benchmarks.scale.simulator import Cluster, Workload, simulate

_ENDS = (5, 50, 95)  # percentiles


@dataclass(frozen=True)
class Estimate:
    """Seconds of wall time and of all workers together, each as 5th percentile, median and 95th percentile."""

    wall_s: tuple[float, float, float]
    worker_s: tuple[float, float, float]

    def widened(self, measured_over_predicted: float) -> Estimate:
        """Return the estimate widened by a known error of the model, on the side of the error.

        Args:
            measured_over_predicted: above 1 if the prediction was too fast.
        """

        def wide(low: float, middle: float, high: float) -> tuple[float, float, float]:
            return low * min(1.0, measured_over_predicted), middle, high * max(1.0, measured_over_predicted)

        return Estimate(wide(*self.wall_s), wide(*self.worker_s))


def bootstrap(
    images: Sequence[int], seconds: Sequence[float], workload: Workload, cluster: Cluster, rounds: int = 20
) -> Estimate:
    """Estimate the time of a workload, with the uncertainty from the number of measured shards.

    Args:
        images: images of each measured shard.
        seconds: seconds that each shard took one worker.
        workload: the workload.
        cluster: the workers.
        rounds: number of resamples of the measured shards, with replacement.
    """

    def drawn(rng: np.random.Generator) -> ShardCost:
        rows = rng.integers(0, len(images), len(images))
        return fit(np.asarray(images)[rows].tolist(), np.asarray(seconds)[rows].tolist())

    return _estimate(drawn, workload, cluster, rounds)


def between(low: ShardCost, high: ShardCost, workload: Workload, cluster: Cluster, rounds: int = 20) -> Estimate:
    """Estimate the time of a workload if the cost is only known to be between two values, both included."""

    def drawn(rng: np.random.Generator) -> ShardCost:
        share = rng.uniform()
        per_image = low.per_image_s ** (1 - share) * high.per_image_s**share
        return ShardCost(per_image, max(low.per_shard_s, high.per_shard_s), (*low.spread, *high.spread))

    return _estimate(drawn, workload, cluster, rounds)


def _estimate(
    drawn: Callable[[np.random.Generator], ShardCost], workload: Workload, cluster: Cluster, rounds: int
) -> Estimate:
    rng = np.random.default_rng(0)
    outcomes = [simulate(workload, drawn(rng), cluster, seed) for seed in range(rounds)]
    wall, worker = (
        np.percentile([getattr(o, name) for o in outcomes], _ENDS).tolist() for name in ("wall_s", "worker_s")
    )
    return Estimate(tuple(wall), tuple(worker))
