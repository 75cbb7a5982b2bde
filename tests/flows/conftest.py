"""A stand-in project: real git, DVC, MLflow and Prefect around stages that take milliseconds."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import prefect  # noqa: F401 - flows that are imported after it are Prefect's
import pytest

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
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with nothing of the user's own in them: home, Prefect, MLflow; no server, no remote."""
    home = tmp_path_factory.mktemp("home")
    return {
        "HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **GIT,
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def variables(own: dict[str, str]) -> Iterator[Path]:
    """They are this process's while the tests of a module run."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(_NOT_INHERITED)]:
            patch.delenv(name)
        for name, value in own.items():
            patch.setenv(name, value)
        yield Path(own["HOME"])


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, own: dict[str, str]) -> Path:
    """Create a repository whose stages have not run."""
    root = tmp_path_factory.mktemp("template") / "project"
    (root / "data").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("stage.py"), root)
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copy(Path(__file__).with_name("stand_in.dvc.yaml"), root / "dvc.yaml")
    (root / "data" / "raw.txt").write_text("raw\n")
    commands = [
        "git init -q", "dvc init -q", "dvc config core.analytics false", "dvc config core.check_update false",
        "dvc add -q data", "git add -A", "git commit -q -m start",
    ]  # fmt: skip
    for command in commands:
        subprocess.run(command.split(), cwd=root, env={**os.environ, **own}, check=True)
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


@pytest.fixture(scope="module")
def server(variables: Path) -> Iterator[None]:
    """Start a real Prefect server on loopback for the tests that request it."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


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
