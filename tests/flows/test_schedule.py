"""`python -m umgclip.flows.schedule`: what it refuses, and a run that a real server starts at its time."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from umgclip.errors import InputError, ParamsError
from umgclip.flows.schedule import checked

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("cron", "timezone", "overrides", "error", "message"),
    [
        ("nightly", "UTC", [], InputError, "expected five fields, minute hour day month weekday"),
        ("0 2 * *", "UTC", [], InputError, "got '0 2 * *'"),
        (
            "0 2 * * *",
            "Mars/Base",
            [],
            InputError,
            "--timezone: expected a name such as Europe/Berlin, got 'Mars/Base'",
        ),
        ("0 2 * * *", "UTC", ["trian.steps=3"], ParamsError, "did you mean 'train.steps'?"),
    ],
)
def test_a_wrong_schedule_is_refused_before_the_night(project, cron, timezone, overrides, error, message):
    with pytest.raises(error) as refused:
        checked(project.root, cron, timezone, overrides)
    assert message in str(refused.value)


def test_a_folder_without_a_pipeline_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected a project with dvc\.yaml, found none"):
        checked(tmp_path, "0 2 * * *", "UTC", [])


def test_values_of_runs_are_read(project):
    assert checked(project.root, "0 2 * * *", "Europe/Berlin", ["train.steps=3"]) == {"overrides": {"train.steps": 3}}


def test_without_a_server_the_message_has_the_line_for_cron(project):
    command = [sys.executable, "-m", "umgclip.flows.schedule", "0 2 * * *"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert (
        "PREFECT_API_URL: expected the address of a Prefect server, got none; run `prefect server start`" in done.stderr
    )
    assert f"0 2 * * * cd {project.root} && " in done.stderr


def free_port() -> int:
    with socket.socket() as open_socket:
        open_socket.bind(("127.0.0.1", 0))
        return open_socket.getsockname()[1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.heavy
def test_a_run_starts_at_its_time(project, wait_until, tmp_path):
    """Prefect's scheduler has to create runs: with SQLAlchemy 2.1 it only logs an error."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "prefect")}
    serve = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    schedule = [sys.executable, "-m", "umgclip.flows.schedule", "* * * * *", "--set", "train.steps=3"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(serve, env=env, stdout=log, stderr=log)
        try:
            assert wait_until(lambda: answers(url), 120), (tmp_path / "log").read_text()[-2000:]
            waiting = subprocess.Popen(schedule, cwd=project.root, env=env, stdout=log, stderr=log)
            try:
                wanted = ["base", "train", "evaluate", "register"]
                assert wait_until(lambda: project.ran()[:4] == wanted, 240), (tmp_path / "log").read_text()[-4000:]
                params = project.root / "params.yaml"
                assert wait_until(lambda: "steps: 350" in params.read_text(), 60), "the file is as it was after the run"
            finally:
                waiting.terminate()
                waiting.wait(60)
        finally:
            server.terminate()
            server.wait(60)
