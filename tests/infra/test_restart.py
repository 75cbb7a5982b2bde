"""A Prefect server that is killed and comes back: runs that live go on, runs that are dead are called Crashed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import refresh_global_settings_context
from prefect.deployments import run_deployment
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.flow_runs import resume_flow_run
from prefect.states import Cancelling, Paused, Pending, Running

from infra import plan as plans
from infra.plan import Plan, base_environment, read_plan, servers
from infra.processes import Ledger, Service
from tests.infra.conftest import variables

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]
WATCH = Path(__file__).parents[2] / "infra/docker/lost_runs.py"
FLOW = """\
import pathlib, time
from prefect import flow

@flow
def wait(path: str = "never"):
    while not pathlib.Path(path).exists():
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """Start a separate server for this module, which tests kill."""
    plan = read_plan(variables(tmp_path_factory.mktemp("restart") / "state", UMGCLIP_SQLITE="1"))
    ledger = Ledger(plan.state)
    plan.state.mkdir()
    try:
        start(plan)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**plan.exports(), "PREFECT_HOME": str(plan.state / "prefect")}.items():
                patch.setenv(name, value)
            refresh_global_settings_context()
            yield plan
        refresh_global_settings_context()
    finally:
        ledger.stop_all()


def start(plan: Plan) -> None:
    ledger = Ledger(plan.state)
    service = next(one for one in servers(plan) if one.name == "prefect")
    ledger.wait(service, ledger.start(service, base_environment(plan)))


def kill_and_start(plan: Plan) -> None:
    os.kill(Ledger(plan.state).running()["prefect"].pid, signal.SIGKILL)
    assert until(lambda: "prefect" not in Ledger(plan.state).running(), 10)
    start(plan)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.2)
    return condition()


@pytest.fixture(scope="module")
def deployment(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Deploy a flow that waits for a file, one run at a time, and start a worker for it."""
    folder = tmp_path_factory.mktemp("flow")
    (folder / "wait.py").write_text(FLOW)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="cpu", type="process"))
    deploy = (
        "from prefect import Flow\n"
        f"flow = Flow.from_source(source={str(folder)!r}, entrypoint='wait.py:wait')\n"
        "flow.deploy(name='one', work_pool_name='cpu', build=False, push=False, concurrency_limit=1)\n"
    )
    subprocess.run([sys.executable, "-c", deploy], check=True, capture_output=True, timeout=120)
    return "wait/one"


@contextmanager
def worker(plan: Plan) -> Iterator[None]:
    service = plans._worker(plan, "cpu")
    variables = {
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "TMPDIR": str(plan.state),
    }
    ledger = Ledger(plan.state)
    service = Service(service.name, service.command, service.ready, environment=variables, cwd=plan.state)
    record = ledger.start(service, {**base_environment(plan), **plan.exports()})
    try:
        yield
    finally:
        ledger.stop(record)


def read(run: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run)


def heartbeats(client: SyncPrefectClient, run: UUID) -> int:
    wanted = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
    )
    return len(client.read_events(filter=wanted, limit=50).events)


def test_a_run_outlives_the_kill_of_the_server(plan: Plan, deployment: str, tmp_path: Path):
    with worker(plan):
        # given a run that holds the deployment's only slot
        run = run_deployment(deployment, parameters={"path": str(tmp_path / "go")}, timeout=0).id
        assert until(lambda: read(run).state_type is StateType.RUNNING, 90)
        lease = read(run).state.state_details.deployment_concurrency_lease_id
        assert lease is not None
        with get_client(sync_client=True) as client:
            assert until(lambda: heartbeats(client, run) > 0, 30)
            before = heartbeats(client, run)

        # when the server is killed and started again
        kill_and_start(plan)

        # then the slot is still the run's, which goes on giving signs of life, and ends well
        with get_client(sync_client=True) as client:
            client.renew_concurrency_lease(lease, 300).raise_for_status()
            assert until(lambda: heartbeats(client, run) > before, 60)
            (tmp_path / "go").touch()
            assert until(lambda: read(run).state.is_final(), 60)
            assert read(run).state_type is StateType.COMPLETED
            assert client.read_deployment_by_name(deployment).global_concurrency_limit.active_slots == 0


@flow(name="lost")
def lost() -> None:
    """Never run: its process is gone."""


@contextmanager
def watching(plan: Plan, silent_s: float) -> Iterator[None]:
    command = [sys.executable, str(WATCH), "--silent-s", str(silent_s), "--start-s", "600", "--poll-s", "0.5"]
    variables = {**os.environ, **base_environment(plan), **plan.exports()}
    process = subprocess.Popen(command, env=variables)
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_runs_whose_process_is_gone_are_crashed_and_hold_no_slot(plan: Plan, deployment: str, tmp_path: Path):
    with get_client(sync_client=True) as client:
        # given a run that was Pending when its worker and the server died
        pending = client.create_flow_run_from_deployment(client.read_deployment_by_name(deployment).id)
        client.set_flow_run_state(pending.id, Pending())
        kill_and_start(plan)
        assert client.read_deployment_by_name(deployment).global_concurrency_limit.active_slots == 1
        # and one that somebody cancels in vain, one that was approved after its process had died, one that waits
        cancelled = client.create_flow_run(lost, state=Running())
        client.set_flow_run_state(cancelled.id, Cancelling())
        approved = client.create_flow_run(lost, state=Running())
        client.set_flow_run_state(approved.id, Paused(timeout_seconds=600))
        resume_flow_run(approved.id)
        assert read(approved.id).state_type is StateType.RUNNING
        scheduled = client.create_flow_run_from_deployment(client.read_deployment_by_name(deployment).id)

        # when the watch looks for longer than the silent time
        with watching(plan, silent_s=4):
            dead = [pending.id, cancelled.id, approved.id]
            assert until(lambda: all(read(run).state.is_crashed() for run in dead), 60)

        # then the slot is free, and the next run gets it
        assert "no sign of life for" in (read(pending.id).state.message or "")
        assert client.read_deployment_by_name(deployment).global_concurrency_limit.active_slots == 0
        (tmp_path / "go").touch()
        client.update_flow_run(scheduled.id, parameters={"path": str(tmp_path / "go")})
        with worker(plan):
            assert until(lambda: read(scheduled.id).state_type is StateType.COMPLETED, 90)
