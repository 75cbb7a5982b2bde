"""A stage on another machine, with real parts on loopback: Prefect and MLflow on PostgreSQL, S3, two process workers.

The stages are stand-ins that take no time, but for the one whose worker is killed; at the end the real training goes.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import boto3
import psutil
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from infra.processes import Ledger, Record, Service
from infra.services import BUCKET, Plan, base_environment, read_plan, servers

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests" / "flows" / "stage.py"
# a heartbeat every 30 s is the most frequent that Prefect gives
SETTINGS = """\
defaults: {retry_delay_s: 1.0}
stages: {train: {pool: gpu}}
remote: {poll_s: 1.0, silence_timeout_s: 45.0}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Servers of this test alone."""
    ports = {f"UMGCLIP_{name}_PORT": str(free_port()) for name in ("POSTGRES", "S3", "MLFLOW", "PREFECT")}
    return read_plan({"UMGCLIP_SERVICES": str(tmp_path_factory.mktemp("services")), **ports})


@pytest.fixture(scope="module")
def environment(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every process gets: the servers' addresses, nothing of the user's own."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "MLFLOW_", "UMGCLIP_", "AWS_"))
    }
    own = {
        "HOME": str(tmp_path_factory.mktemp("home")), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_WORKER_QUERY_SECONDS": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.invalid",
    }  # fmt: skip
    exports = plan.exports()
    del exports["UMGCLIP_REPOSITORY"], exports["UMGCLIP_REPOSITORIES"], exports["UMGCLIP_CHECKOUT"]
    return {**inherited, **base_environment(plan), **exports, **own}


@pytest.fixture(scope="module")
def ledger(plan: Plan, environment: dict[str, str]) -> Iterator[Ledger]:
    """The servers run."""
    if plan.cluster is None:
        pytest.skip("PostgreSQL is not installed: initdb, postgres and pg_isready are not on the path")
    ledger = Ledger(plan.state)
    try:
        plan.cluster.make()
        database = plan.cluster.service()
        ledger.wait(database, ledger.start(database, environment))
        plan.cluster.ensure(("mlflow", "prefect"))
        for service, record in [(service, ledger.start(service, environment)) for service in servers(plan)]:
            ledger.wait(service, record)
        own = {"aws_access_key_id": plan.login.s3_key, "aws_secret_access_key": plan.login.s3_secret}
        keys = {**own, "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=plan.s3, **keys).create_bucket(Bucket=BUCKET)
        yield ledger
    finally:
        ledger.stop_all()
        shutil.rmtree(plan.cluster.folder, ignore_errors=True)


def turned_to(plan: Plan) -> AbstractContextManager[object]:
    """This process is a client of the Prefect server."""
    return temporary_settings({PREFECT_API_URL: plan.prefect_api, PREFECT_API_AUTH_STRING: plan.login.prefect})


@pytest.fixture(autouse=True)
def mlflow_login(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, plan.exports()[name])


def commit(folder: Path, environment: dict[str, str]) -> None:
    for command in ("git add -A", "git commit -q -m start"):
        subprocess.run(command.split(), cwd=folder, env=environment, check=True)


@pytest.fixture(scope="module")
def project(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This working tree with stand-ins for its stages, in a repository of its own."""
    folder = tmp_path_factory.mktemp("project") / "umgclip"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "umgclip", "flows", "params.yaml"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.copy(STAND_IN, folder / "stage.py")
    shutil.copy(STAND_IN.with_name("stand_in.dvc.yaml"), folder / "dvc.yaml")
    (folder / "data").mkdir()
    (folder / "data" / "raw.txt").write_text("raw\n")
    for command in (
        "git init -q", "dvc init -q", "dvc config core.analytics false", "dvc config core.check_update false",
        "dvc add -q data",
    ):  # fmt: skip
        subprocess.run(command.split(), cwd=folder, env=environment, check=True)
    commit(folder, environment)
    return folder


Worker = Callable[..., Record]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests and stand-ins leave each other notes."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "tracked").touch()
    (folder / "settings.yaml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def workers(
    plan: Plan, ledger: Ledger, environment: dict[str, str], project: Path, desk: Path
) -> Iterator[dict[str, tuple[Path, Record]]]:
    """Two process workers of the pool gpu, each with a clone, a cache and a working folder of its own."""
    with turned_to(plan), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="gpu", type="process"))
        deploy(environment, project)
        started = {}
        for name in ("one", "two"):
            home = plan.state / f"worker-{name}"
            subprocess.run(["git", "clone", "-q", str(project), str(home / "clone")], check=True)
            words = [
                "worker",
                "start",
                "--pool",
                "gpu",
                "--type",
                "process",
                "--name",
                name,
                "--install-policy",
                "never",
            ]
            own = {
                "UMGCLIP_WORKER_DIR": str(home),
                "PREFECT_HOME": str(home / "prefect"),
                "STAND_IN": str(desk),
                "UMGCLIP_REPOSITORIES": f"{project},{desk / 'real' / 'umgclip'}",
            }
            command = (sys.executable, "-m", "prefect", *words)
            service = Service(f"worker-{name}", command, lambda: True, environment=own, cwd=home / "clone")
            started[name] = (home, ledger.start(service, environment))
        yield started


def deploy(environment: dict[str, str], project: Path) -> None:
    """`remote-stage/gpu`, whose code each run clones from the repository, as infra/prefect.yaml has it."""
    script = (
        "import sys\n"
        "from prefect.runner.storage import GitRepository\n"
        "from prefect import Flow\n"
        "flow = Flow.from_source(source=GitRepository(url=sys.argv[1]), entrypoint='flows/remote.py:remote_stage')\n"
        "flow.deploy(name='gpu', work_pool_name='gpu', build=False, push=False, print_next_steps=False)\n"
    )
    command = [sys.executable, "-c", script, project.as_uri()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def computed(desk: Path) -> list[tuple[str, Path]]:
    """Which stage ran in which folder, in order."""
    lines = (desk / "ran.log").read_text().splitlines()
    return [(line.split()[0], Path(line.split()[2])) for line in lines]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.1)
    return condition()


def runs_of_pool(plan: Plan) -> list[str]:
    """States of the workers' runs, the first sent first."""
    with turned_to(plan), get_client(sync_client=True) as client:
        found = [run for run in client.read_flow_runs() if run.work_pool_name == "gpu"]
    return [run.state.name for run in sorted(found, key=lambda run: run.created)]


def test_a_killed_worker_costs_one_attempt_and_the_run_finishes(plan, workers, environment, project, desk):
    (desk / "train.sleep").touch()
    own = {"UMGCLIP_FLOW_SETTINGS": str(desk / "settings.yaml"), "STAND_IN": str(desk)}
    with (desk / "pipeline.log").open("wb") as log:
        pipeline = subprocess.Popen(
            [sys.executable, "-m", "flows.pipeline", "--set", "train.lora.rank=8"],
            cwd=project, env={**environment, **own}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            pids = desk / "train.pids"
            assert wait_until(lambda: pids.is_file() and len(pids.read_text().split()) == 3, 170)
            (desk / "train.sleep").unlink()
            first = computed(desk)[-1][1]
            victim = worker_of(first, workers)
            stage = [int(pid) for pid in pids.read_text().split()]
            kill(workers[victim][1].pid, stage[0])
            assert wait_until(lambda: not any(map(runs, stage)), 30), "the stage of the killed worker goes on"
            assert pipeline.wait(240) == 0
        finally:
            if pipeline.poll() is None:
                pipeline.terminate()
                pipeline.wait(60)
            said = (desk / "pipeline.log").read_text(errors="replace")[-6000:]
    places = computed(desk)
    assert [name for name, _ in places] == ["base", "train", "train", "evaluate", "register"], said
    # training ran on one worker, then on the other, and never here
    homes = [
        next(name for name, (home, _) in workers.items() if place.is_relative_to(home)) for _, place in places[1:3]
    ]
    assert homes[0] == victim != homes[1]
    assert all(place == project for name, place in places if name != "train")
    assert runs_of_pool(plan) == ["Crashed", "Completed"]


def worker_of(place: Path, workers: dict[str, tuple[Path, Record]]) -> str:
    return next(name for name, (home, _) in workers.items() if place.is_relative_to(home))


def kill(worker: int, stage: int) -> None:
    """End a worker and the flow run that it has started by signal 9: nobody can tell the server, or the stage."""
    above = psutil.Process(stage).parents()
    guard = next(row for row, process in enumerate(above) if any("guard.py" in word for word in process.cmdline()))
    last = next(row for row, process in enumerate(above) if process.pid == worker)
    for process in above[guard + 1 : last + 1]:
        process.kill()


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_one_lineage_holds_every_attempt(plan, workers, project):
    client = MlflowClient(plan.mlflow)
    (experiment,) = client.search_experiments(filter_string="name = 'umgclip'")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    (parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert [(run.info.run_name, run.info.status) for run in children] == [
        ("base", "FINISHED"), ("train", "KILLED"), ("train", "FINISHED"), ("evaluate", "FINISHED"),
        ("register", "FINISHED"),
    ]  # fmt: skip
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True).stdout.strip()
    assert {run.data.tags["mlflow.source.git.commit"] for run in found} == {commit}
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["umgclip.stage.train"] == "cached gpu"
    with turned_to(plan), get_client(sync_client=True) as prefect:
        assert prefect.read_flow_run(parent.data.tags["prefect.flow_run_id"]).state.is_completed()
    logged = {entry.path for entry in client.list_artifacts(parent.info.run_id, "dvc")}
    assert {"dvc/dvc.lock", "dvc/params.yaml", "dvc/dvc.yaml"} <= logged


def test_nobody_has_written_to_git_and_the_lock_is_the_orchestrators(project, workers, desk):
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=project, capture_output=True, text=True, check=True).stdout

    assert git("log", "--all", "--format=%s").split() == ["start"]
    assert git("diff", "--name-only") == ""  # the overrides are gone from params.yaml, .dvc/config.local was ignored
    assert not (project / ".dvc" / "config.local").exists()
    lock = (project / "dvc.lock").read_text()
    assert all(f"\n  {stage}:\n" in lock for stage in ("base", "train", "evaluate", "register"))
    assert json.loads((project / "metrics" / "train.json").read_text())["rank"] == 8
    # a worker that is done leaves its cache; only the killed one has a clone left, for the next attempt there
    left = [place for home, _ in workers.values() for place in (home / "work").glob("*/clone")]
    assert left == [computed(desk)[1][1]]


@pytest.fixture(scope="module")
def real(clone: Path, run: Callable[..., object], environment: dict[str, str], desk: Path) -> Path:
    """The real stages with small params, in a repository that workers can clone."""
    folder = desk / "real" / "umgclip"
    subprocess.run(["git", "clone", "-q", str(clone), str(folder)], check=True)
    for command in ("umgclip data demo --out data", "dvc add --quiet data", "git add -A", "git commit -q -m data"):
        subprocess.run(command.split(), cwd=folder, env=environment, check=True, capture_output=True)
    settings = SETTINGS.replace("remote: {", f"remote: {{repo: '{folder}', ")
    (desk / "real.yaml").write_text(settings)
    return folder


def execute(folder: Path, environment: dict[str, str], desk: Path, target: str) -> str:
    own = {"UMGCLIP_FLOW_SETTINGS": str(desk / "real.yaml")}
    command = [sys.executable, "-m", "flows.pipeline", "--target", target]
    done = subprocess.run(
        command, cwd=folder, env={**environment, **own}, capture_output=True, text=True, timeout=290, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stderr


def test_the_real_stages_before_training_run_here(workers, real, environment, desk):
    said = execute(real, environment, desk, "validate")
    for stage in ("base", "annotate", "validate"):
        assert f"stage {stage}: ran, here" in said


def test_the_real_training_goes_to_a_worker_and_comes_back(plan, workers, real, environment, desk):
    said = execute(real, environment, desk, "train")
    assert "stage validate: unchanged, here" in said
    assert "stage train: cached, gpu" in said
    assert (real / "artifacts" / "train" / "adapter" / "adapter_model.safetensors").stat().st_size > 1000
    assert json.loads((real / "metrics" / "train.json").read_text())
    client = MlflowClient(plan.mlflow)
    (experiment,) = client.search_experiments(filter_string="name = 'umgclip'")
    newest = client.search_runs([experiment.experiment_id], "attributes.run_name = 'train'", max_results=1)[0]
    parent = client.get_run(newest.data.tags["mlflow.parentRunId"])
    assert (newest.info.status, parent.info.run_name, parent.info.status) == ("FINISHED", "pipeline", "FINISHED")
