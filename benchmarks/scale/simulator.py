"""Simulate workers that take shards from one queue, as both annotation engines do.

It is a discrete-event simulation: events are the starts and ends of shards. A worker that crashes loses its current
shard, which returns to the end of the queue, and reloads its models: the unit of commit is the shard. The simulation
knows nothing else about the engines.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from benchmarks.scale.cost import ShardCost

_MOST_CRASHES = 3.0  # expected per shard; with more than this a run hardly ever ends


@dataclass(frozen=True)
class Workload:
    """Shards to annotate: the images of each, and the megabytes that an image moves to and from the store."""

    shard_images: tuple[int, ...]
    mb_per_image: float = 0.0

    @classmethod
    def of(cls, images: int, per_shard: int, mb_per_image: float = 0.0) -> Workload:
        """Return a workload of images in shards of one size; the last shard has the rest."""
        whole, rest = divmod(images, per_shard)
        return cls((per_shard,) * whole + ((rest,) if rest else ()), mb_per_image)


@dataclass(frozen=True)
class Cluster:
    """A group of workers that all start at time 0.

    Attributes:
        workers: number of processes or actors with models, usually one per GPU or core.
        startup_s: seconds until a worker takes its first shard (process and models), and again after a crash.
        crashes_per_hour: crashes of one worker, of any cause: memory, a lost node, a reclaimed machine.
        slow_share: share of the workers on slower machines.
        slow_factor: seconds of slow workers relative to the others.
        store_mb_s: maximum rate of the object store for all workers together; None: no limit.
    """

    workers: int
    startup_s: float = 0.0
    crashes_per_hour: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    store_mb_s: float | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers: expected at least 1, got {self.workers}")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a simulated run.

    Attributes:
        wall_s: seconds until the last shard is done.
        worker_s: workers times `wall_s`, the time that is paid for.
        busy_s: seconds spent on shards that were finished.
        lost_s: seconds spent on shards that a crash interrupted.
        crashes: number of crashes.
        done: number of commits of each shard.
    """

    wall_s: float
    worker_s: float
    busy_s: float
    lost_s: float
    crashes: int
    done: tuple[int, ...]


def simulate(workload: Workload, cost: ShardCost, cluster: Cluster, seed: int = 0) -> Outcome:
    """Simulate the annotation of all shards and return the outcome.

    A store that is slower than the workers delays all of them equally: a shard then takes as long as the store needs
    for one shard of every worker.

    Raises:
        ValueError: a shard is expected to crash more than three times before it is done.
    """
    rng = np.random.default_rng(seed)
    images = np.asarray(workload.shard_images)
    work = (cost.per_shard_s + images * cost.per_image_s) * rng.choice(cost.spread, len(images))
    least = np.zeros(len(images))
    if cluster.store_mb_s is not None:
        least = images * workload.mb_per_image * min(cluster.workers, len(images)) / cluster.store_mb_s
    pace = np.where(np.arange(cluster.workers) < round(cluster.slow_share * cluster.workers), cluster.slow_factor, 1.0)
    rate = cluster.crashes_per_hour / 3600
    if len(images) and rate * max(np.max(work) * pace.max(), np.max(least)) > _MOST_CRASHES:
        raise ValueError("crashes_per_hour: expected fewer, since shards of this size would hardly ever be done")
    queue = [(0.0, shard) for shard in range(len(images))]  # time from which a shard can be taken
    free = [(cluster.startup_s, worker) for worker in range(cluster.workers)]
    done = np.zeros(len(images), int)
    wall = busy = lost = 0.0
    crashes = 0
    while queue:
        now, worker = heapq.heappop(free)
        ready, shard = heapq.heappop(queue)
        start, seconds = max(now, ready), max(work[shard] * pace[worker], least[shard])
        crash = rng.exponential(1 / rate) if rate else np.inf
        if crash < seconds:
            crashes, lost = crashes + 1, lost + crash
            heapq.heappush(queue, (start + crash, shard))
            heapq.heappush(free, (start + crash + cluster.startup_s, worker))
        else:
            done[shard] += 1
            busy, wall = busy + seconds, max(wall, start + seconds)
            heapq.heappush(free, (start + seconds, worker))
    return Outcome(wall, wall * cluster.workers, busy, lost, crashes, tuple(done.tolist()))
