"""A stage on several nodes: how the group ends, which node returns the result, and where nodes meet."""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings
from prefect.states import Crashed

from umgclip.errors import InputError, UmgclipError
from umgclip.flows import group
from umgclip.flows.dvc.failures import StageFailed, Unavailable
from umgclip.flows.dvc.follow import follow
from umgclip.flows.dvc.graph import read_graph
from umgclip.flows.dvc.handoff import Order, carried_files, check_commit, fetch, send_inputs, work
from umgclip.flows.dvc.process import CommandResult, CommandSettings
from umgclip.flows.dvc.repro import StageState, repro
from umgclip.flows.dvc.workspace import Workspace, configure, environment
from umgclip.flows.nodes import Rendezvous, job_of_this_pod
from umgclip.flows.remote import dispatch, remote_stage
from umgclip.flows.settings import RemoteSettings
from umgclip.learning.nodes import Seat

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("forked")


@dataclass
class Run:
    """A worker's run that tells these looks, the last one for ever."""

    looks: list[bool | UmgclipError]
    told: list[UmgclipError | None] = field(default_factory=list)

    def done(self) -> bool:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, UmgclipError):
            raise look
        return look


def wait(*runs: Run) -> float:
    """Seconds that pass until the group has ended."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    group.wait(runs, 5.0, 60.0, lambda: now[0], sleep)
    return now[0]


def test_a_group_ends_with_its_last_node_and_soon_after_the_first_one():
    assert wait(Run([False, True]), Run([False, False, False, True])) == 15
    assert wait(Run([False, True]), Run([True])) == 5
    # a node that does not end has no say
    assert 60 <= wait(Run([False, True]), Run([False])) <= 70


def test_a_stage_that_says_no_counts_before_a_node_that_lost_the_others():
    lost, gate = Unavailable("lost the others"), StageFailed("bad data", 3)
    with pytest.raises(Unavailable, match="lost the others"):
        wait(Run([False, lost]), Run([False]))
    with pytest.raises(StageFailed, match="bad data"):
        wait(Run([False, lost]), Run([False, False, False, gate]))
    with pytest.raises(Unavailable, match="lost the others"):
        wait(Run([False]), Run([lost]))
    # its result is there: what another node says then changes nothing
    assert wait(Run([False, True]), Run([lost])) == 5


@pytest.fixture
def workspace(project, tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setenv("UMGCLIP_WORKER_DIR", str(tmp_path / "worker"))
    configure(project.root, remote=("handoff", str(tmp_path / "remote")))
    return Workspace(project.root, environment(project.root))


@pytest.fixture
def order(project, workspace, tmp_path) -> Order:
    """Return an order for the stand-in's training on two nodes, with uploaded inputs."""
    repro(workspace, "base")
    graph = read_graph(project.root, os.environ)
    made = Order(
        repo=str(project.root), commit=check_commit(project.root, graph), stage="train", nodes=2,
        files=carried_files(project.root, graph, graph.up_to("train")[-1]), remote_url=str(tmp_path / "remote"),
    )  # fmt: skip
    send_inputs(workspace, graph, made)
    return made


@pytest.fixture
def paper() -> Order:
    """Return an order that no worker will execute."""
    return Order(repo="/nowhere", commit="0" * 40, stage="train", remote_url="/nowhere/dvc", nodes=2)


def seat_of(node: int) -> Callable[[], Seat]:
    return lambda: Seat(2, node, "127.0.0.1", 29500, "run-7")


def test_the_first_node_gives_the_result_and_another_only_computes(project, workspace, order, tmp_path):
    other = order.model_copy(update={"node": 1, "first": uuid.uuid4()})
    assert other.key() == order.key()
    lines: list[str] = []
    outcome = work(other, lines.append, seat_of(1))
    assert (outcome.stage, outcome.state) == ("train", StageState.RAN)
    assert "train: starting" in lines
    graph = read_graph(project.root, os.environ)
    with pytest.raises(UmgclipError, match="no cache holds its result"):
        fetch(workspace, graph, order)
    assert work(order, take_seat=seat_of(0)).state == StageState.RAN
    assert fetch(workspace, graph, order).state == StageState.CACHED
    assert project.ran() == ["base", "train", "train"]
    assert not any((tmp_path / "worker" / "work").iterdir())


def test_a_node_that_fails_says_what_the_stage_said(project, workspace):
    stage = read_graph(project.root, os.environ).up_to("train")[-1]
    assert stage.cmd == "python stage.py train"
    workspace = Workspace(project.root, {**workspace.environment, **seat_of(1)().variables()})
    (project.desk / "train.exit").write_text("3\n9")
    with pytest.raises(StageFailed, match="asked to end with 3") as caught:
        follow(workspace, stage)
    assert caught.value.exit_code == 3
    with pytest.raises(Unavailable, match="exit code 9, a process of the same group was lost"):
        follow(workspace, stage)


def test_the_seat_is_in_the_environment_of_every_node(project, workspace, monkeypatch):
    seen: list[dict[str, str]] = []

    def run(_command: list[str], setting: CommandSettings, _on_line: object) -> CommandResult:
        seen.append(dict(setting.environment))
        return CommandResult(0, ())

    monkeypatch.setattr("umgclip.flows.dvc.follow.run", run)
    stage = read_graph(project.root, os.environ).up_to("train")[-1]
    follow(Workspace(project.root, seat_of(1)().variables()), stage)
    assert seen == [{
        "PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": "29500",
        "PET_RDZV_ID": "run-7",
    }]  # fmt: skip


def flow_run() -> uuid.UUID:
    from prefect import flow

    @flow(name="some-flow")
    def some() -> None:
        pass

    with get_client(sync_client=True) as client:
        return client.create_flow_run(some).id


def test_nodes_meet_where_the_first_one_says(server, monkeypatch):
    first, other = flow_run(), flow_run()
    waits: list[float] = []

    def announce(seconds: float) -> None:
        waits.append(seconds)
        seats.append(Rendezvous(2, 0, first, first).take_seat())

    seats: list[Seat] = []
    seat = Rendezvous(2, 1, other, first).take_seat(sleep=announce)
    assert len(waits) == 1
    assert (seat.address, seat.port, seat.run) == ("127.0.0.1", seats[0].port, str(first))
    assert (seat.node, seats[0].node) == (1, 0)
    # started again, the first node says another place; where it speaks through a tunnel its address is given
    monkeypatch.setenv("UMGCLIP_NODE_ADDRESS", "10.0.0.7")
    Rendezvous(2, 0, first, first).take_seat()
    assert Rendezvous(2, 1, other, first).take_seat().address == "10.0.0.7"


def test_an_address_that_leads_nowhere_and_a_first_node_that_ended_are_said(server, monkeypatch):
    first, other = flow_run(), flow_run()
    Rendezvous(2, 0, first, first).take_seat()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    with pytest.raises(InputError, match=r"UMGCLIP_NODE_ADDRESS: expected an address of .+ that other machines reach"):
        Rendezvous(2, 1, other, first).take_seat()
    ended = flow_run()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(ended, Crashed(message="its machine is gone"), force=True)
    with pytest.raises(Unavailable, match="node 1 of 2: the first node has ended: its machine is gone"):
        Rendezvous(2, 1, other, ended).take_seat()


def test_a_pool_that_is_too_small_is_named(server, paper):
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="small", type="process", concurrency_limit=1))
    with pytest.raises(
        InputError, match=r"stages.train.nodes: expected at most 1, the concurrency limit of pool small"
    ):
        group.together(paper, "small", group.RemoteSettings())


class Ended:
    """A worker's run that ends some looks after it was told to, or never."""

    def __init__(self, looks: int) -> None:
        self.looks, self.calls = looks, list[str]()

    def end(self, error: BaseException | None) -> None:
        self.calls.append(f"end: {error}")

    def is_final(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def abandon(self, reason: str) -> None:
        self.calls.append(f"abandon: {reason}")


def test_what_does_not_end_is_given_up_before_the_next_attempt(monkeypatch):
    monkeypatch.setattr(group, "_SETTLE_S", 0.2)
    ends, never = Ended(1), Ended(10**9)
    group._end([ends, never], Unavailable("node 1 was lost"), 0.05)
    assert ends.calls == ["end: node 1 was lost"]
    assert never.calls == ["end: node 1 was lost", f"abandon: {group.GONE.format(0.2)}"]


def deployment(pool: str, run_in: Path, kind: str = "kubernetes") -> uuid.UUID:
    """Deploy `remote-stage/POOL` on a pool with the shipped template of its kind, with code in a folder."""
    from prefect.client.schemas.actions import WorkPoolCreate

    template = json.loads((ROOT / "infra" / "templates" / f"{kind}-gpu.json").read_text(encoding="utf-8"))
    steps = [{"prefect.deployments.steps.set_working_directory": {"directory": str(run_in)}}]
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type=kind, base_job_template=template))
        flow_id = client.create_flow(remote_stage)
        return client.create_deployment(
            flow_id, pool, work_pool_name=pool, pull_steps=steps, entrypoint="flows/remote.py:remote_stage"
        )


def test_on_kubernetes_the_nodes_are_pods_of_one_job(server, paper):
    deployment("cluster", ROOT)
    settings = RemoteSettings(poll_s=0.1, start_timeout_s=0.5)
    with pytest.raises(Unavailable, match="stage train: no worker of pool cluster took it within"):
        dispatch(paper, "cluster", settings)
    with get_client(sync_client=True) as client:
        (sent,) = [run for run in client.read_flow_runs() if run.work_pool_name == "cluster"]
    assert sent.job_variables == {"nodes": 2}
    assert sent.state.is_cancelled()
    assert Order.model_validate(sent.parameters["order"]) == paper


def test_on_ecs_they_are_tasks_with_the_addresses_of_their_instances(server, paper):
    deployment("tasks", ROOT, "ecs")
    with pytest.raises(Unavailable, match="stage train: no worker of pool tasks took it within"):
        dispatch(paper, "tasks", RemoteSettings(poll_s=0.1, start_timeout_s=0.5))
    with get_client(sync_client=True) as client:
        sent = [run for run in client.read_flow_runs() if run.work_pool_name == "tasks"]
    assert [run.job_variables for run in sent] == [{"network_mode": "host"}] * 2
    assert all(run.state.is_cancelled() for run in sent)
    orders = {order.node: order for order in (Order.model_validate(run.parameters["order"]) for run in sent)}
    assert sorted(orders) == [0, 1]
    (first,) = [run.id for run in sent if run.parameters["order"]["node"] == 0]
    assert (orders[0].first, orders[1].first) == (None, first)


def pod(index: int, run: uuid.UUID, *command: str) -> subprocess.CompletedProcess[str]:
    """Run the image's entry point as in a pod of the job."""
    api = get_current_settings().api.url
    words = [sys.executable, str(ROOT / "infra" / "docker" / "umgclip-node"), *command]
    pod_variables = {"JOB_COMPLETION_INDEX": str(index), "PREFECT__FLOW_RUN_ID": str(run), "PREFECT_API_URL": str(api)}
    environment = {**os.environ, **pod_variables, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.heavy
def test_a_pod_with_an_index_takes_part_in_the_run_of_the_first(server, project, order, monkeypatch):
    from prefect.deployments import run_deployment

    deployment("pods", ROOT)
    run = run_deployment("remote-stage/pods", parameters={"order": order.model_dump(mode="json")}, timeout=0).id
    assert pod(0, run, sys.executable, "-c", "print('the run itself')").stdout == "the run itself\n"
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    # the address of an earlier attempt, under another job's name, is not taken
    Rendezvous(2, 0, run, run, "an-earlier-job").take_seat()
    told = threading.Timer(4.0, lambda: Rendezvous(2, 0, run, run, job_of_this_pod()).take_seat())
    told.start()
    done = pod(1, run, "not", "this")
    told.join()
    assert done.returncode == 0, done.stderr
    assert "train: starting" in done.stderr
    assert project.ran() == ["base", "train"]
    # what ends it is the first pod's to report
    (project.desk / "train.exit").write_text("3")
    failed = pod(1, run)
    assert failed.returncode == 0
    assert "take part: stage train: exit code 3" in failed.stderr
    too_many = pod(2, run)
    assert "JOB_COMPLETION_INDEX: expected 0 to 1, as the order is for 2 nodes, got 2" in too_many.stderr


def test_the_job_of_a_pod_is_known_by_its_host_name(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "train-x7k2p-1")
    assert job_of_this_pod() == ""
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert job_of_this_pod() == "train-x7k2p"
