"""A stand-in project: real git, DVC, MLflow and Prefect around stages that take milliseconds."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import prefect  # noqa: F401 - flows that are imported after it are Prefect's
import pytest

from tests.forks import Forks, forking
from umgclip.flows.dvc.process import CommandResult, OnLine, ignore

if TYPE_CHECKING:
    from prefect.server.api.server import SubprocessASGIServer

ROOT = Path(__file__).parents[2]
GIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "test"), ("EMAIL", "test@example.invalid"))
}


@dataclass(frozen=True)
class Project:
    """The checkout, and the folder by which tests talk to its stages."""

    root: Path
    desk: Path

    def ran(self) -> list[str]:
        """Return the stages that computed something, in order."""
        log = self.desk / "ran.log"
        return [line.split()[0] for line in log.read_text().splitlines()] if log.is_file() else []

    def run(self, command: str) -> str:
        """Run a shell command in the checkout."""
        done = subprocess.run(command, shell=True, cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


_NOT_INHERITED = ("PREFECT_", "MLFLOW_", "UMGCLIP_", "AWS_")


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory, empty_store: bytes) -> dict[str, str]:
    """Variables with nothing of the user's own in them: home, Prefect, MLflow; no server, no remote."""
    home = tmp_path_factory.mktemp("home")
    (home / "mlflow.db").write_bytes(empty_store)
    return {
        "HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **GIT,
    }  # fmt: skip


@contextmanager
def own_variables(own: dict[str, str]) -> Iterator[None]:
    """Let this process have them for a while, and none of the user's for the same programs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(_NOT_INHERITED)]:
            patch.delenv(name)
        for name, value in own.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module", autouse=True)
def variables(own: dict[str, str]) -> Iterator[Path]:
    """They are this process's while the tests of a module run."""
    with own_variables(own):
        yield Path(own["HOME"])


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, own: dict[str, str], forks: tuple[Forks, Path]) -> Path:
    """Create a repository whose stages have not run."""
    root = tmp_path_factory.mktemp("template") / "project"
    (root / "data").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("stage.py"), root)
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copy(Path(__file__).with_name("stand_in.dvc.yaml"), root / "dvc.yaml")
    (root / "data" / "raw.txt").write_text("raw\n")
    variables = {**os.environ, **own, "PATH": f"{forks[1]}{os.pathsep}{own['PATH']}"}
    commands = [
        "git init -q", "dvc init -q", "dvc config core.analytics false", "dvc config core.check_update false",
        "dvc add -q data", "git add -A", "git commit -q -m start",
    ]  # fmt: skip
    for command in commands:
        subprocess.run(command.split(), cwd=root, env=variables, check=True)
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Create a separate checkout for one test, which becomes the working directory."""
    root, desk = tmp_path / "project", tmp_path / "desk"
    shutil.copytree(template, root)
    desk.mkdir()
    monkeypatch.setenv("STAND_IN", str(desk))
    monkeypatch.chdir(root)
    settings = tmp_path / "settings.yaml"
    settings.write_text("defaults: {retries: 1, retry_delay_s: 0.1}\n")
    monkeypatch.setenv("UMGCLIP_FLOW_SETTINGS", str(settings))
    return Project(root, desk)


# what DVC imports in the commands of these tests
DVC = (
    "configobj", "dulwich.worktree", "dvc._debug", "dvc.cachemgr", "dvc.cli.parser", "dvc.daemon", "dvc.data_cloud",
    "dvc.repo.add", "dvc.repo.artifacts", "dvc.repo.brancher", "dvc.repo.checkout", "dvc.repo.datasets",
    "dvc.repo.index", "dvc.repo.metrics", "dvc.repo.open_repo", "dvc.repo.params", "dvc.repo.plots", "dvc.repo.pull",
    "dvc.repo.push", "dvc.repo.reproduce", "dvc.repo.stage", "dvc.repo.status", "dvc.repo.worktree", "dvc.rwlock",
    "dvc.scm", "dvc.stage.cache", "dvc.utils.strictyaml", "dvc_data.hashfile.db.index", "dvc_data.hashfile.db.local",
    "dvc_data.index.checkout", "dvc_data.index.collect", "dvc_data.index.push", "fsspec.implementations.memory",
    "platformdirs.unix", "ruamel.yaml", "ruamel.yaml.mergevalue", "scmrepo.git", "umgclip.flows.dvc.listings",
    "umgclip.flows.dvc.repo",
)  # fmt: skip


@pytest.fixture(scope="session")
def forks(own: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Forks, Path]]:
    """A server whose forks have imported DVC, and a folder with a program `dvc` that is one of them."""
    programs = tmp_path_factory.mktemp("programs")
    with forking(*DVC, environment={**os.environ, **own}) as server:
        server.write_program(programs / "dvc", "-c", "import sys; from dvc.cli import main; sys.exit(main())")
        yield server, programs


@pytest.fixture
def forked(forks: tuple[Forks, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let DVC's processes be forks of one that has imported it, for tests of what they do and not of how they end."""
    from umgclip.flows.dvc import graph, workspace

    server, programs = forks

    def lines(words: list[str], cwd: Path, environment: dict[str, str], on_line: OnLine) -> CommandResult:
        whole: list[str] = []

        def take(line: str) -> None:
            whole.append(line)
            on_line(line)

        code = server.run(words, cwd, environment, take)
        return CommandResult(code if code >= 0 else 128 - code, tuple(whole))

    def run(self, words, what, on_line, timeout_s):
        return lines(words, self.root, self.environment, on_line)

    def run_whole(command, *, cwd, env, **_options):
        done = lines(command[1:], cwd, env, ignore)
        return subprocess.CompletedProcess(command, done.code, done.text, done.text)

    monkeypatch.setattr(workspace.Workspace, "_run", run)
    monkeypatch.setattr(graph, "subprocess", SimpleNamespace(run=run_whole))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="session")
def prefect_server(own: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SubprocessASGIServer]:
    """Start a real Prefect server on loopback with a database of its own, which takes seconds to be made."""
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        started = SubprocessASGIServer(free.getsockname()[1])
    database = tmp_path_factory.mktemp("prefect") / "prefect.db"
    place = {PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{database}"}
    with own_variables(own), temporary_settings(place):
        started.start(timeout=120)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def server(variables: Path, prefect_server: SubprocessASGIServer) -> Iterator[None]:
    """Let the tests of a module that request it use the server, as `prefect_test_harness` does with one of its own."""
    from prefect.context import _temporary_global_settings_context, get_settings_context
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with ExitStack() as stack:
        stack.enter_context(temporary_settings({PREFECT_API_URL: prefect_server.api_url}))
        stack.enter_context(_temporary_global_settings_context(get_settings_context()))
        yield
        APILogWorker.drain_all(timeout=5)
        EventsWorker.drain_all(timeout=5)


@pytest.fixture(scope="session")
def alive() -> Callable[[int], bool]:
    """Return whether a process runs; a zombie does not."""

    def look(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    return look


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., bool]:
    """Look until something is so; False if it is not in time."""

    def look(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.05)
        return condition()

    return look
