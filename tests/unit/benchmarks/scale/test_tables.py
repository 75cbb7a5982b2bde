"""A check against a run of two workers, and what the tables say."""

import pytest

from benchmarks.scale import tables
from benchmarks.scale.check import Run, check
from benchmarks.scale.estimate import Estimate

# the first shard holds 5 s of loading, and 2 s pass before it
ONE = Run(1, 30.0, (10, 10, 30, 10, 30), (8.0, 3.0, 7.0, 3.0, 7.0), {"proposer": 0.15}, {"write": 0.01, "read": 1e-6})


def test_two_workers_are_predicted_from_one():
    two = Run(2, 25.0, ONE.images, (9.0, 9.0, 7.7, 3.3, 7.7))
    result = check(ONE, two)
    assert (result.cost.per_image_s, result.cost.per_shard_s) == pytest.approx((0.2, 1.0))
    assert result.startup_s == pytest.approx(7.0)
    assert result.predicted_s == pytest.approx(20.0)  # 7, then 3 + 3 + 7 while the other is done with 3 and 7
    assert result.error == pytest.approx(-0.2)
    assert result.slowdown == pytest.approx(1.1)
    assert result.bias == pytest.approx(1.25)
    text = tables.checked(ONE, result, "2 cores")
    assert "| per image | 200.0 ms |\n| ... proposer | 150.0 ms |\n| ... write | 10.0 ms |\n| per shard" in text
    assert "**-20.0 %**" in text
    assert "5 shards. One worker: 4.0 images/s." in text


def test_only_like_is_compared():
    with pytest.raises(ValueError, match="got 2 and 1 workers"):
        check(Run(2, 1.0, (1,), (1.0,)), Run(1, 1.0, (1,), (1.0,)))
    with pytest.raises(ValueError, match="expected more shards than workers, got 2 for 2"):
        check(Run(1, 1.0, (1, 1), (1.0, 1.0)), Run(2, 1.0, (1, 1), (1.0, 1.0)))


def test_rows_have_ranges_and_costs_where_prices_are_known():
    estimate = Estimate((3600.0, 7200.0, 36000.0), (36_000.0, 72_000.0, 360_000.0))
    assert tables.by_cores({1024: estimate}, None).splitlines() == [
        "| cores | wall time | core-hours |",
        "|---|---|---|",
        "| 1,024 | 2.0 (1.0 to 10.0) h | 20 (10 to 100) |",
    ]
    days = Estimate(tuple(24 * s for s in estimate.wall_s), estimate.worker_s)
    assert tables.by_recipe({("masks", 8): days}, 2.5).splitlines()[::2] == [
        "| recipe | GPUs | wall time | GPU-hours | cost at 2.5 an hour |",
        "| masks | 8 | 2.0 (1.0 to 10.0) days | 20 (10 to 100) | 50 (25 to 250) |",
    ]


def test_what_is_not_known_is_said():
    roles = {
        "captioner": {"model": "A", "seconds": [0.1, 0.1], "gpu": "B", "source": "c"},
        "region_captioner": {"model": "A", "seconds": None, "gpu": None, "source": "none found"},
    }
    assert tables.sources(roles).splitlines()[2:] == [
        "| captioner | A | 0.1 | B |",
        "| region_captioner | A | unknown, in no recipe |  |",
        "",
        "Sources of these times:",
        "",
        "* captioner: c",
        "* region_captioner: none found",
    ]
