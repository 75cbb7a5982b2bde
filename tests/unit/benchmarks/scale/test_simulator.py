"""The simulator against what can be worked out by hand."""

import numpy as np
import pytest

from benchmarks.scale.cost import ShardCost, fit
from benchmarks.scale.estimate import Estimate, between, bootstrap
from benchmarks.scale.simulator import Cluster, Workload, simulate

COST = ShardCost(per_image_s=0.5, per_shard_s=2.0)


def test_one_worker_takes_the_sum():
    workload = Workload((10, 20, 5))
    done = simulate(workload, COST, Cluster(1, startup_s=7.0))
    assert done.wall_s == pytest.approx(7 + 3 * 2 + 35 * 0.5)
    assert (done.worker_s, done.busy_s, done.lost_s, done.crashes) == (done.wall_s, done.wall_s - 7, 0.0, 0)
    assert done.done == (1, 1, 1)


@pytest.mark.parametrize("workers", [1, 2, 5, 10])
def test_equal_shards_scale_perfectly(workers):
    done = simulate(Workload((8,) * 100), COST, Cluster(workers))
    assert done.wall_s == pytest.approx(100 / workers * COST.seconds(8))
    assert done.worker_s == pytest.approx(done.busy_s)


def test_more_workers_than_shards_wait():
    done = simulate(Workload((8,) * 3), COST, Cluster(10, startup_s=1.0))
    assert done.wall_s == pytest.approx(1 + COST.seconds(8))
    assert done.worker_s == pytest.approx(10 * done.wall_s)


def test_the_last_shard_holds_what_is_left():
    assert Workload.of(25, 10) == Workload((10, 10, 5))
    assert Workload.of(20, 10).shard_images == (10, 10)
    assert sum(Workload.of(41_000_000, 1000).shard_images) == 41_000_000


def test_a_slow_worker_takes_fewer_shards():
    """Check the shared queue: with one of two workers at half the speed, three shards take the time of two."""
    done = simulate(Workload((8,) * 300), COST, Cluster(2, slow_share=0.5, slow_factor=2.0))
    assert done.wall_s == pytest.approx(200 * COST.seconds(8))


def test_crashes_cost_what_theory_says():
    """Check that s seconds with crashes at rate r and restarts of d seconds take (1 / r + d)(exp(r s) - 1)."""
    cost, cluster = ShardCost(36.0), Cluster(1, startup_s=10.0, crashes_per_hour=20.0)
    done = simulate(Workload((10,) * 4000), cost, cluster)
    rate, seconds = 20 / 3600, 360.0
    assert done.wall_s / 4000 == pytest.approx((1 / rate + 10) * np.expm1(rate * seconds), rel=0.05)
    assert done.crashes / 4000 == pytest.approx(np.expm1(rate * seconds), rel=0.05)
    assert done.busy_s + done.lost_s + (done.crashes + 1) * 10 == pytest.approx(done.wall_s)


@pytest.mark.parametrize("seed", range(5))
def test_every_shard_is_committed_once_whatever_happens(seed):
    sizes = tuple(np.random.default_rng(seed).integers(1, 40, 200).tolist())
    cost = ShardCost(0.5, 2.0, spread=(0.7, 1.0, 1.3))
    cluster = Cluster(7, startup_s=3.0, crashes_per_hour=60.0, slow_share=0.3, slow_factor=1.5)
    done = simulate(Workload(sizes), cost, cluster, seed)
    assert done.done == (1,) * 200
    assert done.crashes > 0
    assert done.worker_s >= done.busy_s + done.lost_s
    assert done == simulate(Workload(sizes), cost, cluster, seed)


def test_a_store_that_is_too_slow_sets_the_pace():
    workload = Workload((10,) * 200, mb_per_image=2.0)
    assert simulate(workload, COST, Cluster(50, store_mb_s=100.0)).wall_s == pytest.approx(200 * 10 * 2 / 100)
    fast = simulate(workload, COST, Cluster(2, store_mb_s=100.0))
    assert fast.wall_s == pytest.approx(simulate(workload, COST, Cluster(2)).wall_s)


def test_shards_that_never_end_are_refused():
    with pytest.raises(ValueError, match="crashes_per_hour: expected fewer"):
        simulate(Workload((10_000,)), COST, Cluster(1, crashes_per_hour=10.0))
    with pytest.raises(ValueError, match="workers: expected at least 1, got 0"):
        Cluster(0)


def test_a_fit_finds_both_parts():
    images = [16, 64, 16, 64, 32]
    cost = fit(images, [COST.seconds(count) for count in images])
    assert (cost.per_image_s, cost.per_shard_s) == pytest.approx((0.5, 2.0))
    assert cost.spread == pytest.approx((1.0,) * 5)


def test_a_fit_keeps_the_sum_and_stays_above_zero():
    images, seconds = [16, 64, 16, 64], [9.0, 33.0, 8.0, 36.0]
    cost = fit(images, seconds)
    assert sum(cost.seconds(count) for count in images) == pytest.approx(sum(seconds))
    assert min(cost.per_image_s, cost.per_shard_s) >= 0
    steep = fit([10, 20], [1.0, 4.0])  # a line through them would start below 0
    assert (steep.per_shard_s, steep.per_image_s) == (0.0, pytest.approx(5 / 30))
    assert fit([10, 10], [4.0, 6.0]).per_image_s == pytest.approx(0.5)
    with pytest.raises(ValueError, match="as many times as shards, got 1 for 2"):
        fit([1, 2], [1.0])


def test_the_error_shrinks_with_the_shards_measured():
    rng = np.random.default_rng(0)

    def width(shards):
        images = [16, 64] * shards
        seconds = [COST.seconds(count) * rng.uniform(0.7, 1.3) for count in images]
        low, middle, high = bootstrap(images, seconds, Workload((50,) * 3000), Cluster(4), rounds=40).wall_s
        return (high - low) / middle

    assert width(200) < 0.5 * width(4)


def test_estimates_hold_what_is_true():
    images = [16, 64] * 10
    rng = np.random.default_rng(1)
    seconds = [COST.seconds(count) * rng.uniform(0.8, 1.2) for count in images]
    low, middle, high = bootstrap(images, seconds, Workload((50,) * 400), Cluster(4)).wall_s
    assert low < middle < high
    assert low < 100 * COST.seconds(50) < high
    wide = Estimate((low, middle, high), (low, middle, high))
    assert wide.widened(1.5).wall_s == (low, middle, 1.5 * high)
    assert wide.widened(0.5).worker_s == (0.5 * low, middle, high)


def test_a_cost_between_two():
    low, middle, high = between(ShardCost(0.1), ShardCost(0.4), Workload((10,) * 100), Cluster(1), rounds=200).wall_s
    assert 100 < low < 120
    assert middle == pytest.approx(200, rel=0.15)
    assert 350 < high < 400
