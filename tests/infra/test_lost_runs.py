"""Detection of lost runs with a fake clock; `test_restart.py` tests the same against a server."""

import datetime
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from uuid import UUID, uuid4

import pytest

FILE = Path(__file__).parents[2] / "infra/docker/lost_runs.py"
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def lost_runs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lost_runs", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(lost_runs: ModuleType, clock: Clock):
    return lost_runs.Watch(silent_s=540, start_s=3600, clock=clock)


@pytest.fixture
def look(lost_runs: ModuleType):
    run, state = uuid4(), uuid4()

    def make(run: UUID = run, state: UUID = state, beats: int = 0, starting: bool = False):
        heartbeat = START + datetime.timedelta(seconds=180 * beats) if beats else None
        return lost_runs.Look(run, state, heartbeat, starting)

    return make


def test_a_run_is_lost_after_the_silent_time_and_not_before(watch, clock, look):
    assert watch.lost([look(beats=1)]) == []
    clock.now = 540
    assert watch.lost([look(beats=1)]) == []
    clock.now = 541
    assert watch.lost([look(beats=1)]) == [(look(beats=1), 541)]


def test_heartbeats_and_changes_of_state_are_signs_of_life(watch, clock, look):
    other = uuid4()
    for clock.now, seen in ((0, look()), (500, look(beats=1)), (1000, look(beats=2)), (1500, look(state=other))):
        assert watch.lost([seen]) == []
    clock.now = 2000
    assert watch.lost([look(state=other)]) == []
    clock.now = 2041
    assert watch.lost([look(state=other)]) == [(look(state=other), 541)]


def test_each_run_has_a_time_of_its_own_and_one_that_ended_is_forgotten(watch, clock, look):
    first, second = uuid4(), uuid4()
    watch.lost([look(run=first)])
    clock.now = 400
    watch.lost([look(run=first), look(run=second)])
    clock.now = 600
    assert [lost.run for lost, _ in watch.lost([look(run=first), look(run=second)])] == [first]
    clock.now = 601
    watch.lost([look(run=second)])
    clock.now = 700
    assert watch.lost([look(run=first), look(run=second)]) == []


def test_machines_that_are_made_for_a_run_have_longer(watch, clock, look):
    watch.lost([look(starting=True)])
    clock.now = 3600
    assert watch.lost([look(starting=True)]) == []
    clock.now = 3601
    assert watch.lost([look(starting=True)]) == [(look(starting=True), 3601)]


def test_the_time_without_a_server_counts_for_nobody(watch, clock, look):
    watch.lost([look(beats=1)])
    # given 400 s with a server, then an hour without, in which the watch tried twice
    clock.now = 400
    watch.lost([look(beats=1)])
    clock.now = 2000
    watch.missed()
    clock.now = 4000
    watch.missed()
    # when it is back, the run has the rest of its time
    clock.now = 4001
    assert watch.lost([look(beats=1)]) == []
    clock.now = 4140
    assert watch.lost([look(beats=1)]) == []
    clock.now = 4142
    assert watch.lost([look(beats=1)]) == [(look(beats=1), 542)]
