"""Waiting for a worker: when it is lost, when it says no; and what a worker's run ends as."""

import datetime
import os

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled

from umgclip.errors import InputError
from umgclip.flows.dvc.failures import StageFailed, Unavailable
from umgclip.flows.dvc.graph import read_graph
from umgclip.flows.dvc.handoff import Order, carried_files, check_commit
from umgclip.flows.remote import RunMonitor, dispatch, remote_stage
from umgclip.flows.settings import RemoteSettings

SETTINGS = RemoteSettings(start_timeout_s=100.0, silence_timeout_s=60.0)
BEATS = [datetime.datetime(2000, 1, 1, 0, minute, tzinfo=datetime.UTC) for minute in range(3)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return RunMonitor("train", "gpu", SETTINGS, clock)


def test_a_run_that_nobody_takes_is_given_up(watch, clock):
    assert not watch.done(Scheduled(), None)
    clock.now = 90
    assert not watch.done(Pending(), None)
    clock.now = 101
    with pytest.raises(Unavailable, match="stage train: no worker of pool gpu took it within 101 s"):
        watch.done(Pending(), None)


def test_a_running_one_lives_as_long_as_its_heart_beats(watch, clock):
    assert not watch.done(Pending(), None)
    clock.now = 99
    assert not watch.done(Running(), None)
    clock.now = 150
    assert not watch.done(Running(), BEATS[0])  # its clock is years behind; only changes count
    clock.now = 205
    assert not watch.done(Running(), BEATS[1])
    clock.now = 264
    assert not watch.done(Running(), BEATS[1])
    clock.now = 266
    with pytest.raises(Unavailable, match="the worker of pool gpu is lost: expected a heartbeat within 60 s"):
        watch.done(Running(), BEATS[1])


def test_ends_are_told_apart(watch):
    assert watch.done(Completed(), None)
    for state in (Crashed(message="Flow run process exited with -9"), Failed(name="Unavailable", message="no network")):
        with pytest.raises(Unavailable, match="stage train on pool gpu: "):
            watch.done(state, None)
    with pytest.raises(StageFailed, match="gate closed") as caught:
        watch.done(Failed(name="StageFailed", message="gate closed (exit code 4)"), None)
    assert caught.value.exit_code == 4
    with pytest.raises(StageFailed, match="by hand"):
        watch.done(Cancelled(message="by hand"), None)


@pytest.fixture
def order(forked, project, tmp_path, monkeypatch):
    monkeypatch.setenv("UMGCLIP_WORKER_DIR", str(tmp_path / "worker"))
    project.run(f"dvc remote add -q -d --local r {tmp_path / 'remote'} && dvc push -q data")
    graph = read_graph(project.root, os.environ)
    commit = check_commit(project.root, graph)
    files = carried_files(project.root, graph, graph.up_to("base")[-1])
    remote = str(tmp_path / "remote")
    return Order(repo=str(project.root), commit=commit, stage="base", files=files, remote_url=remote)


def test_a_workers_run_ends_as_what_happened(server, project, order):
    state = remote_stage(order, return_state=True)
    assert state.is_completed()
    assert state.message.startswith("ran in")
    (project.desk / "base.exit").write_text("4\n6")
    again = order.model_copy(update={"overrides": {"base.seed": 7}})
    state = remote_stage(again, return_state=True)
    assert (state.type, state.name) == (StateType.FAILED, "StageFailed")
    assert state.message.endswith("(exit code 4)")
    state = remote_stage(again, return_state=True)
    assert (state.type, state.name) == (StateType.FAILED, "Unavailable")
    with get_client(sync_client=True) as client:
        recorded = {run.state.name for run in client.read_flow_runs()}
    assert {"StageFailed", "Unavailable", "Completed"} <= recorded


def test_a_pool_without_a_deployment_is_named(server, order):
    with pytest.raises(InputError, match="pool gpu: expected a deployment remote-stage/gpu on the Prefect server"):
        dispatch(order, "gpu", SETTINGS)
