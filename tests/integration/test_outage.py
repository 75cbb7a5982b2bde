"""A tracking server that is killed and started again while runs are open."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from umgclip import tracking

pytestmark = pytest.mark.heavy


class Server:
    """MLflow on loopback over a SQLite file."""

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.uri = root, f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", self.uri.rpartition(":")[2],
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self.root / 'mlflow.db'}",
            "--artifacts-destination", str(self.root / "files"),
        ]  # fmt: skip
        with (self.root / "log").open("a") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **settings}, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return
            time.sleep(0.1)
        raise AssertionError((self.root / "log").read_text()[-2000:])

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait(30)
            self._process = None


@pytest.fixture
def server(
    tmp_path: Path, empty_store: bytes, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "UMGCLIP_PARENT_RUN_ID", "UMGCLIP_SPOOL", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mlflow.db").write_bytes(empty_store)
    started = Server(tmp_path / "server", free_port())
    started.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", started.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield started
    started.kill()


def test_a_training_that_ends_during_an_outage_stands_as_finished_with_all_its_values(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = tmp_path / "report.html"
    page.write_text("<p>numbers</p>")
    with tracking.stage_run("pipeline", {}, root=tmp_path) as pipeline:
        with monkeypatch.context() as patch:
            patch.setenv("UMGCLIP_PARENT_RUN_ID", pipeline.run_id)
            with tracking.stage_run("train", {}, root=tmp_path) as train:
                lost = pipeline.store.client().create_run("1", tags={"mlflow.parentRunId": pipeline.run_id}).info.run_id
                train.log_metrics({"loss": 0.0}, 0)
                train.flush()
                server.kill()
                for step in range(1, 144):
                    train.log_metrics({"loss": float(step)}, step)
                train.log_artifact(page)
                pipeline.set_tags({"stage": "trained"})
            page.unlink()
        [waits] = [path for path in (tmp_path / ".umgclip" / "spool").glob("*.jsonl") if train.run_id in path.name]
        server.start()
        pipeline.close_children()
        pipeline.log_metrics({"stages": 1.0})

    client = MlflowClient(tracking_uri=server.uri)
    assert f"143 metric values and the end of run {train.run_id} as FINISHED wait in {waits}" in caplog.text
    ended = {run: client.get_run(run).info.status for run in (pipeline.run_id, train.run_id, lost)}
    assert ended == {pipeline.run_id: "FINISHED", train.run_id: "FINISHED", lost: "KILLED"}
    history = client.get_metric_history(train.run_id, "loss")
    assert [(value.step, value.value) for value in history] == [(step, float(step)) for step in range(144)]
    assert client.get_run(pipeline.run_id).data.tags["stage"] == "trained"
    assert client.get_run(pipeline.run_id).data.metrics == {"stages": 1.0}
    assert [file.path for file in client.list_artifacts(train.run_id)] == ["report.html"]
    assert list((tmp_path / ".umgclip" / "spool").iterdir()) == []


UNREAD = """
import os, sys
from pathlib import Path
from umgclip import tracking
with tracking.stage_run("train", {}, root=Path(sys.argv[1])) as run:
    print(run.run_id, flush=True)
    sys.stdin.readline()
"""


def test_a_run_whose_output_nobody_reads_is_ended_all_the_same(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-c", UNREAD, tmp_path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    process.stdout.close()
    process.stdin.close()
    process.wait(60)

    assert MlflowClient(tracking_uri=server.uri).get_run(run_id).info.status == "FINISHED"
    assert not list((tmp_path / ".umgclip" / "spool").glob("*"))
