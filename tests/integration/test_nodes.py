"""Training on two machines, one of which dies once: network namespaces in the place of hosts, with servers in a third.

Real parts: Prefect and MLflow, process workers, DVC, torch over gloo through the virtual wires, the real training.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from umgclip.io.atomic import sha256_file
from umgclip.io.tables import QUARANTINE, write_table

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
HOSTS = ("one", "two")
OFFICE = "10.77.0.1"
PREFECT, MLFLOW = f"http://{OFFICE}:4200/api", f"http://{OFFICE}:5000"
# a heartbeat every 30 s is the most frequent that Prefect gives
SETTINGS = """\
defaults: {retry_delay_s: 1.0}
stages: {train: {pool: gpu, nodes: 2}}
remote: {poll_s: 1.0, silence_timeout_s: 45.0}
"""
TRAIN = {
    "steps": 500, "batch": 4, "checkpoint_every": 5, "precision": "fp32", "device": "cpu", "processes": 1,
    "lr_peak": 1e-3,
}  # fmt: skip
STAGE = """\
stages:
  train:
    cmd: umgclip train
    deps: [artifacts/base, artifacts/annotate/train, artifacts/validate/quarantine.parquet]
    params: [train]
    outs: [artifacts/train, plots/train.csv]
    metrics:
      - metrics/train.json:
          cache: false
"""
PREPARE = """\
import sys
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name="gpu", type="process"))
flow = Flow.from_source(source=sys.argv[1], entrypoint="flows/remote.py:remote_stage")
flow.deploy(name="gpu", work_pool_name="gpu", build=False, push=False, print_next_steps=False)
"""
LOOK = """\
import json
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
mlflow = MlflowClient()
(experiment,) = mlflow.search_experiments(filter_string="name = 'umgclip'")
runs = mlflow.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
with get_client(sync_client=True) as client:
    flows = sorted(client.read_flow_runs(), key=lambda run: run.created)
print(json.dumps({
    "tracked": [(run.info.run_name, run.info.status) for run in runs],
    "flows": [(run.name, run.state.name) for run in flows if run.work_pool_name == "gpu"],
}))
"""


@dataclass
class Net:
    """Hosts as network namespaces, and what runs on them."""

    prefix: str
    environment: dict[str, str]
    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def name(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def start(self, host: str, *command: str, **own: str) -> subprocess.Popen[bytes]:
        words = ["ip", "netns", "exec", self.name(host), sys.executable, *command]
        with (self.folder / f"{host}-{len(self.running)}.log").open("wb") as log:
            process = subprocess.Popen(
                words, cwd=self.folder, env={**self.environment, **own}, stdout=log, stderr=log, start_new_session=True
            )
        self.running.append(process)
        return process

    def ask(self, script: str, *words: str) -> str:
        """What a script prints that runs beside the servers."""
        command = ["ip", "netns", "exec", self.name("office"), sys.executable, "-c", script, *words]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answers(self, url: str) -> Callable[[], bool]:
        script = f"import urllib.request as r; r.urlopen({url!r}, timeout=5)"
        command = ["ip", "netns", "exec", self.name("office"), sys.executable, "-c", script]
        return lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0

    def pids(self, host: str) -> list[int]:
        listed = subprocess.run(["ip", "netns", "pids", self.name(host)], capture_output=True, text=True, check=True)
        return [int(pid) for pid in listed.stdout.split()]

    def has(self, host: str, variable: bytes) -> bool:
        """Whether a process of a host has a variable, as NAME=VALUE."""
        for pid in self.pids(host):
            with suppress(FileNotFoundError, ProcessLookupError):
                if variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return True
        return False

    def kill(self, host: str) -> None:
        """End all that runs on a host by signal 9, until nothing is left: nobody can say goodbye."""
        while pids := self.pids(host):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.2)
    return condition()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, project: Path) -> dict[str, str]:
    """What every process gets: the servers' addresses, nothing of the user's own."""
    taken = ("PREFECT_", "MLFLOW_", "UMGCLIP_", "AWS_", "PYTHONPATH", "GLOO_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(taken)}
    folder = tmp_path_factory.mktemp("shared")
    own = {
        "HOME": str(folder), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_API_URL": PREFECT, "MLFLOW_TRACKING_URI": MLFLOW, "UMGCLIP_REMOTE_URL": str(folder / "remote"),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30", "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1",
        "PREFECT_HOME": str(folder / "prefect"), "PYTHONPATH": str(project), "NO_PROXY": OFFICE,
    }  # fmt: skip
    return {**inherited, **own}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, write_evaluation: Callable[[Path, int, int], None]) -> Path:
    """A repository with this working tree's code, the stage `train`, and its inputs as data."""
    folder, made = tmp_path_factory.mktemp("project") / "umgclip", tmp_path_factory.mktemp("made")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "umgclip", "flows", "params.yaml"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    write_evaluation(made, 12, 1)
    for source, target in (("base", "base"), ("annotations", "annotate/train")):
        shutil.copytree(made / source, folder / "artifacts" / target)
    write_table(folder / "artifacts" / "validate" / "quarantine.parquet", [], QUARANTINE)
    yaml = YAML()
    params = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["train"].update(TRAIN)
    params["train"]["loader"]["streams"] = 2
    with (folder / "params.yaml").open("w", encoding="utf-8") as handle:
        yaml.dump(params, handle)
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / "settings.yaml").write_text(SETTINGS)
    who = {f"GIT_{role}_{what}": f"t@{what}.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for command_line in (
        "git init -q", "dvc init -q", "dvc config core.analytics false", "dvc config core.check_update false",
        "dvc add -q artifacts/base artifacts/annotate/train artifacts/validate/quarantine.parquet", "git add -A",
        "git commit -q -m start",
    ):  # fmt: skip
        subprocess.run(command_line.split(), cwd=folder, env={**os.environ, **who}, check=True)
    return folder


@pytest.fixture(scope="module")
def whole(project: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What two processes of one machine make of the same, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("params.yaml", "artifacts"):
        (folder / name).symlink_to(project / name)
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").unlink()
    (folder / "params.yaml").write_text(text.replace("processes: 1", "processes: 2"), encoding="utf-8")
    own = {**environment, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    command = [sys.executable, "-m", "umgclip", "train", "--out", "out", "--work", "work"]
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return result(folder / "out", folder)


def result(made: Path, root: Path) -> tuple[str, str]:
    weights = made / "adapter" / "adapter_model.safetensors"
    return sha256_file(weights), (root / "plots" / "train.csv").read_text()


@pytest.fixture(scope="module")
def net(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """Three hosts on one wire, the servers on the first."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    if shutil.which("ip") is None:
        pytest.skip("no `ip` on the path (Debian's package `iproute2`)")
    net = Net(f"umg{os.getpid()}", environment, tmp_path_factory.mktemp("net"))
    office = net.name("office")
    with ExitStack() as stack:
        try:
            for host in ("office", *HOSTS):
                ip("netns", "add", net.name(host))
                stack.callback(ip, "netns", "del", net.name(host))
                stack.callback(net.kill, host)
                ip("-n", net.name(host), "link", "set", "lo", "up")
            ip("-n", office, "link", "add", "wire", "type", "bridge")
            ip("-n", office, "addr", "add", f"{OFFICE}/24", "dev", "wire")
            ip("-n", office, "link", "set", "wire", "up")
            for number, host in enumerate(HOSTS, start=2):
                ip(
                    "link",
                    "add",
                    "net0",
                    "netns",
                    net.name(host),
                    "type",
                    "veth",
                    "peer",
                    "name",
                    host,
                    "netns",
                    office,
                )
                ip("-n", office, "link", "set", host, "master", "wire", "up")
                ip("-n", net.name(host), "addr", "add", f"10.77.0.{number}/24", "dev", "net0")
                ip("-n", net.name(host), "link", "set", "net0", "up")
        except (subprocess.CalledProcessError, OSError) as error:
            pytest.skip(f"network namespaces are not permitted here: {getattr(error, 'stderr', error)}")
        store = f"sqlite:///{net.folder}/mlflow.db"
        net.start(
            "office", "-m", "mlflow", "server", "--host", OFFICE, "--port", "5000", "--workers", "1",
            "--backend-store-uri", store, "--artifacts-destination", str(net.folder / "mlartifacts"),
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        )  # fmt: skip
        net.start("office", "-m", "prefect", "server", "start", "--host", OFFICE, "--port", "4200")
        assert wait_until(net.answers(f"{PREFECT}/health"), 180)
        assert wait_until(net.answers(f"{MLFLOW}/health"), 180)
        yield net


def start_worker(net: Net, host: str) -> None:
    home = net.folder / f"disk-{host}"
    net.start(
        host, "-m", "prefect", "worker", "start", "--pool", "gpu", "--type", "process", "--name", host, "--limit", "1",
        "--install-policy", "never",
        UMGCLIP_WORKER_DIR=str(home), PREFECT_HOME=str(home / "prefect"),
    )  # fmt: skip


def test_a_machine_that_dies_costs_one_attempt_and_the_result_is_the_same(net: Net, project: Path, whole) -> None:
    net.ask(PREPARE, str(project))
    for host in HOSTS:
        start_worker(net, host)
    pipeline = net.start(
        "office", "-c", "import os, runpy; os.chdir(os.environ['HERE']); runpy.run_module('flows.pipeline', "
        "run_name='__main__')", HERE=str(project), UMGCLIP_FLOW_SETTINGS=str(project / "settings.yaml"),
    )  # fmt: skip
    shared = Path(net.environment["UMGCLIP_REMOTE_URL"]) / "checkpoints"
    try:
        assert wait_until(lambda: any(shared.glob("*/checkpoint.pt")) or pipeline.poll() is not None, 240), logs(net)
        assert pipeline.poll() is None, logs(net)
        # the machine that writes the checkpoint, and DVC's results: its disk goes with it
        (first,) = [host for host in HOSTS if net.has(host, b"PET_NODE_RANK=0")]
        net.kill(first)
        shutil.rmtree(net.folder / f"disk-{first}")
        start_worker(net, first)
        assert pipeline.wait(300) == 0, logs(net)
    finally:
        if pipeline.poll() is None:
            pipeline.terminate()
    assert "resumes after step" in logs(net)
    assert result(project / "artifacts" / "train", project) == whole
    assert not any(shared.glob("*/*")), "a training that has ended leaves no checkpoint"
    found = json.loads(net.ask(LOOK))
    # one run of MLflow for each attempt, whatever the number of nodes
    assert found["tracked"] == [["pipeline", "FINISHED"], ["train", "KILLED"], ["train", "FINISHED"]]
    assert sorted(found["flows"][:2]) == [["train-0", "Crashed"], ["train-1", "Unavailable"]]
    assert sorted(found["flows"][2:]) == [["train-0", "Completed"], ["train-1", "Completed"]]


def logs(net: Net) -> str:
    texts = (path.read_text(errors="replace") for path in sorted(net.folder.glob("*.log")))
    return "\n=====\n".join(text[-6000:] for text in texts)
