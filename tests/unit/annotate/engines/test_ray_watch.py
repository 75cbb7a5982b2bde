"""When a run on a cluster gives up on machines that are lost; time and resources are numbers here."""

import pytest

from umgclip.annotate.engines.ray_watch import ClusterWatch
from umgclip.errors import UmgclipError
from umgclip.params.ray import RayPoolParams

ONE = RayPoolParams(workers=3)
TWO = (RayPoolParams(workers=2), RayPoolParams(workers=1, gpus=1.0))
NOTHING = {"CPU": 0.0}


def check(watch, now, total, free, news):
    watch.check(float(now), total, free, news=news)


def cpus(number, gpus=0.0):
    return {"CPU": float(number), "GPU": gpus}


def test_no_worker_for_too_long_ends_the_run():
    watch = ClusterWatch([ONE], 60.0)
    check(watch, 100, cpus(3), NOTHING, news=True)
    for now in (101, 130, 160):
        check(watch, now, NOTHING, NOTHING, news=False)
    with pytest.raises(UmgclipError, match=r"no room .* for 60 s .* expected 3 CPUs and 0 GPUs, found 0 CPUs"):
        check(watch, 161, NOTHING, NOTHING, news=False)


def test_a_machine_that_comes_back_in_time_is_enough():
    watch = ClusterWatch([ONE], 60.0)
    check(watch, 0, cpus(3), NOTHING, news=True)
    check(watch, 59, NOTHING, NOTHING, news=False)
    check(watch, 60, cpus(1), NOTHING, news=False)
    check(watch, 119, cpus(1), cpus(1), news=False)
    with pytest.raises(UmgclipError, match="found 1 CPUs"):
        check(watch, 121, cpus(1), cpus(1), news=False)  # there is a processor, but no worker uses it


def test_the_first_worker_is_waited_for_by_ray_and_not_here():
    watch = ClusterWatch([ONE], 60.0)
    for now in (0, 1000):
        check(watch, now, cpus(3), cpus(3), news=False)


def test_one_worker_of_one_pool_may_take_its_time():
    watch = ClusterWatch([ONE], 60.0)
    for now in (0, 1000):
        check(watch, now, cpus(1), NOTHING, news=False)


def test_a_pool_that_has_no_room_beside_another_ends_the_run():
    watch = ClusterWatch(TWO, 60.0)
    for now in (0, 100):
        check(watch, now, cpus(3, 1.0), NOTHING, news=False)  # room for all: only slow
    check(watch, 110, cpus(2), NOTHING, news=False)
    check(watch, 150, cpus(2), NOTHING, news=True)
    check(watch, 210, cpus(2), NOTHING, news=False)
    with pytest.raises(UmgclipError, match="expected 3 CPUs and 1 GPUs, found 2 CPUs and 0 GPUs"):
        check(watch, 211, cpus(2), NOTHING, news=False)
