"""`make up` and `make down`: real servers on free ports of loopback."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from infra import choices, postgres, services
from infra import plan as plans
from infra.plan import SECRETS, Plan, read_plan
from infra.processes import MARK, Ledger, Service, ServiceError
from tests.infra.conftest import variables
from umgclip.errors import InputError

# a server outlives the command that starts it, so nobody waits for it; a later command finds it by its record
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

ROOT = Path(__file__).parents[2]


def _services(command: str, environment: dict[str, str], expect: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "infra.services", command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def _pids(state: Path) -> dict[str, int]:
    return {name: record.pid for name, record in Ledger(state).running().items()}


def _ours(state: Path) -> list[str]:
    commands = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").endswith(f"@{state}"):
                commands.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return commands


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    chosen = variables(tmp_path / "state")
    yield chosen
    Ledger(tmp_path / "state").stop_all()
    cluster = postgres.find(tmp_path / "state", 1)
    if cluster is not None:
        shutil.rmtree(cluster.folder, ignore_errors=True)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_up_starts_what_is_missing_and_down_ends_all_of_it(environment: dict[str, str], tmp_path: Path):
    state = tmp_path / "state"
    plan = read_plan(environment)

    # when the servers are brought up
    output = _services("up", environment)

    # then all of them run, and the printed variables reach them
    names = [
        *(["postgres"] if plan.cluster else []), "s3", "mlflow", "prefect", "lost-runs", "worker-cpu", "worker-gpu",
    ]  # fmt: skip
    before = _pids(state)
    assert list(before) == names
    for name, value in plan.exports().items():
        assert (f"{name}={value}" in output) == (name not in SECRETS)
    assert not any(plan.exports()[name] in output for name in SECRETS)
    # a later shell need not know which ports were chosen
    elsewhere = {"UMGCLIP_SERVICES": str(state)}
    printed = dict(line.removeprefix("export ").split("=", 1) for line in _services("env", elsewhere).splitlines())
    assert printed == plan.exports()
    assert _services("status", elsewhere).count("pid ") == len(names)
    _knock(plan)
    _use_mlflow(plan.exports(), plan.cluster)
    store = boto3.client(
        "s3",
        endpoint_url=plan.s3,
        region_name="us-east-1",
        aws_access_key_id=plan.login.s3_key,
        aws_secret_access_key=plan.login.s3_secret,
    )
    assert [bucket["Name"] for bucket in store.list_buckets()["Buckets"]] == ["umgclip"]

    # when one is killed and they are brought up again
    os.kill(before["mlflow"], signal.SIGKILL)
    assert "mlflow: down" in _services("status", environment, expect=1)
    output = _services("up", environment)

    # then that one alone is new, and what it knew is still there
    after = _pids(state)
    assert after["mlflow"] != before["mlflow"]
    assert {name: pid for name, pid in after.items() if name != "mlflow"} == {
        name: pid for name, pid in before.items() if name != "mlflow"
    }
    assert output.count("already running") == len(names) - 1
    _use_mlflow(plan.exports(), plan.cluster, runs_before=1)

    # when they are brought down, twice
    assert _services("down", environment) == f"ended: {', '.join(reversed(names))}\n"
    assert _services("down", environment) == "nothing runs\n"

    # then no process of theirs is left
    assert _ours(state) == []


def _knock(plan: Plan) -> None:
    """Check that requests without the login, for another host or from a foreign page are refused."""
    prefect, mlflow = plan.prefect_api, f"{plan.mlflow}/api/2.0/mlflow"
    user, password = plan.login.prefect.split(":")
    foreign = {"Origin": "http://evil.example"}
    with httpx.Client(trust_env=False) as client:
        assert client.post(f"{prefect}/deployments/filter", json={}).status_code == 401
        assert client.post(f"{prefect}/deployments/filter", json={}, auth=(user, "x")).status_code == 401
        assert client.post(f"{prefect}/deployments/filter", json={}, auth=(user, password)).status_code == 200
        for url in (prefect, mlflow, plan.s3):
            answer = client.get(f"{url}/health-of-nothing", headers={"Host": "evil.example"}, auth=(user, password))
            assert answer.status_code in (400, 403), url
        preflight = {**foreign, "Access-Control-Request-Method": "POST"}
        assert client.options(f"{prefect}/deployments/", headers=preflight).status_code == 400
        assert client.get(f"{mlflow}/experiments/search?max_results=1").status_code == 401
        made = {"json": {"name": "x"}, "auth": (user, password), "headers": foreign}
        assert client.post(f"{mlflow}/experiments/create", **made).status_code == 403
        assert client.get(f"{plan.s3}/").status_code == 403
        assert client.post(f"{plan.s3}/moto-api/reset").status_code == 403
    for path in ("events/out", "logs/out", "events/in"):
        with pytest.raises(InvalidStatus), connect(f"{prefect.replace('http', 'ws')}/{path}"):
            pass


def _use_mlflow(exports: dict[str, str], cluster: postgres.Cluster | None, runs_before: int = 0) -> None:
    """Log a run with a file through the server, and see that the database has it."""
    code = (
        "import mlflow, sys\n"
        "mlflow.set_experiment('try')\n"
        "print(len(mlflow.search_runs(experiment_names=['try'], output_format='list')))\n"
        "with mlflow.start_run() as run: mlflow.log_metric('m', 1.0); mlflow.log_text('hello', 'a.txt')\n"
        "assert mlflow.artifacts.load_text(run.info.artifact_uri + '/a.txt') == 'hello'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **exports, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(runs_before)
    if cluster is not None:
        import psycopg2

        url = cluster.url("psycopg2", "mlflow").replace("+psycopg2", "")
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM runs")
            assert cursor.fetchone() == (runs_before + 1,)


@pytest.mark.slow
def test_a_server_that_fails_ends_those_that_were_started_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = tmp_path / "state"
    plan = read_plan(variables(state, UMGCLIP_SQLITE="1"))
    others_are_up = tmp_path / "s3-is-up"
    code = (
        "import pathlib, time\n"
        f"while not pathlib.Path({str(others_are_up)!r}).exists(): time.sleep(0.05)\n"
        "raise SystemExit('no database')"
    )
    failing = Service("mlflow", (sys.executable, "-c", code), ready=lambda: False)
    monkeypatch.setattr(plans, "_mlflow", lambda _plan: failing)

    def tell(line: str) -> None:
        if line.startswith("s3: up"):
            others_are_up.touch()

    with pytest.raises(ServiceError, match=r"(?s)mlflow: ended .*(no database|empty)"):
        services.bring_up(plan, tell)

    assert others_are_up.exists()
    assert _ours(state) == []
    assert Ledger(state).running() == {}


def test_a_port_that_is_none_is_named():
    with pytest.raises(InputError, match=r"UMGCLIP_MLFLOW_PORT: expected a port from 1 to 65535, got 'http'"):
        read_plan({"UMGCLIP_MLFLOW_PORT": "http"})


def test_two_servers_on_one_port_are_refused():
    with pytest.raises(InputError, match=r"expected a different port for each of UMGCLIP_POSTGRES_PORT, .*9000"):
        read_plan({"UMGCLIP_MLFLOW_PORT": "9000"})


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path):
    import socket

    chosen = variables(tmp_path / "state", UMGCLIP_SQLITE="1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(chosen["UMGCLIP_PREFECT_PORT"])))
        taken.listen()

        output = _services("up", chosen, expect=2)

    assert f"prefect: expected port {chosen['UMGCLIP_PREFECT_PORT']} to be free, it is taken by" in output
    assert "set UMGCLIP_PREFECT_PORT to another port" in output
    assert _pids(tmp_path / "state") == {}


def test_with_an_s3_server_of_ones_own_none_is_started_and_its_keys_stay_private(tmp_path: Path):
    plan = read_plan(variables(tmp_path, UMGCLIP_S3_ENDPOINT="https://s3.example.org", UMGCLIP_SQLITE="1"))

    assert plan.exports()["AWS_ENDPOINT_URL"] == "https://s3.example.org"
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(plan.exports())


def test_what_was_chosen_is_known_until_it_ends_and_variables_decide(tmp_path: Path):
    first = read_plan(variables(tmp_path, UMGCLIP_S3_ENDPOINT="https://s3.example.org", UMGCLIP_SQLITE="1"))
    choices.remember(tmp_path, first.choice)

    again = read_plan({"UMGCLIP_SERVICES": str(tmp_path)})
    other = read_plan({"UMGCLIP_SERVICES": str(tmp_path), "UMGCLIP_MLFLOW_PORT": "5001"})
    choices.forget(tmp_path)

    assert (again.ports, again.s3_endpoint, again.cluster) == (first.ports, "https://s3.example.org", None)
    assert other.ports == {**first.ports, "mlflow": 5001}
    assert read_plan({"UMGCLIP_SERVICES": str(tmp_path)}).ports == plans.PORTS


def test_servers_of_an_earlier_version_must_end_first(tmp_path: Path):
    plan = read_plan(variables(tmp_path / "state", UMGCLIP_SQLITE="1"))
    ledger = Ledger(plan.state)
    forever = Service("prefect", (sys.executable, "-c", "import time; time.sleep(60)"), ready=lambda: True)
    record = ledger.start(forever, {})
    try:
        with pytest.raises(InputError, match=r"login.json: expected the login of the servers that run, found none"):
            services.bring_up(plan, lambda line: None)
    finally:
        ledger.stop(record)


def test_temporary_files_of_killed_workers_go_and_those_of_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choices.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = choices.scratch(tmp_path / "state", "cpu")
    choices.empty(folder)
    (folder / "tmpabcprefect").mkdir()

    choices.empty(folder)

    assert list(folder.iterdir()) == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    choices.remove(folder)
    (tmp_path / "mine").mkdir()
    folder.symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="expected a folder of uid"):
        choices.empty(folder)
    assert (tmp_path / "mine").is_dir()


def test_leases_and_lists_of_hosts_and_origins_are_set(tmp_path: Path):
    plan = read_plan(variables(tmp_path, UMGCLIP_SQLITE="1"))
    of = {service.name: service.environment for service in plans.servers(plan)}
    port = plan.ports["prefect"]

    assert of["prefect"]["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith(".lease_storage.filesystem")
    assert of["prefect"]["PREFECT_SERVER_API_AUTH_STRING"] == plan.login.prefect
    assert of["prefect"]["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == f"http://127.0.0.1:{port},http://localhost:{port}"
    assert of["mlflow"]["MLFLOW_SERVER_ALLOWED_HOSTS"] == (
        f"127.0.0.1:{plan.ports['mlflow']},localhost:{plan.ports['mlflow']}"
    )
    for service in [*plans.servers(plan), *plans.clients(plan)]:
        assert not any(secret in " ".join(service.command) for secret in (plan.login.password, plan.login.s3_key))


def test_nothing_listens_beyond_loopback(tmp_path: Path):
    from infra.plan import servers

    plan = read_plan(variables(tmp_path, UMGCLIP_SQLITE="1"))

    for service in servers(plan):
        assert "127.0.0.1" in service.command
        assert "0.0.0.0" not in " ".join(service.command)
