"""Runs in a real SQLite store: what is logged, under which parent, and how a run ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jaxtyping
import pytest
from mlflow import MlflowClient

from umgclip import tracking
from umgclip.errors import InputError, TrackingError

VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
    "UMGCLIP_PARENT_RUN_ID",
    "DVC_EXP_NAME",
    "DVC_EXP_BASELINE_REV",
    "DVC_ROOT",
    "UMGCLIP_SPOOL",
)


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory, empty_store: bytes) -> Path:
    """One database for all tests."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "mlflow.db").write_bytes(empty_store)
    return folder


@pytest.fixture
def root(store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return store_folder


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_environment_everything_lies_in_the_root_by_absolute_path(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    note = tmp_path / "note.txt"
    note.write_text("hello")

    with tracking.stage_run("train", {"steps": 3, "lora": {"rank": 16}, "words": ["a"]}, root=root) as run:
        for step in range(3):
            run.log_metrics({"loss/total": 1.0 / (step + 1), "recall_1": 0.5}, step)
        run.log_artifact(note)

    client = client_of(root)
    logged = client.get_run(run.run_id)
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == "train"
    assert logged.data.params == {"steps": "3", "lora.rank": "16", "words": '["a"]'}
    assert logged.data.tags["umgclip.stage"] == "train"
    assert [m.value for m in client.get_metric_history(run.run_id, "loss/total")] == [1.0, 0.5, 1 / 3]
    assert (root / "mlartifacts" / run.run_id / "artifacts" / "note.txt").read_text() == "hello"
    assert client.get_experiment(logged.info.experiment_id).name == "umgclip"
    assert list(tmp_path.iterdir()) == [note]


def test_a_child_goes_under_the_parent_and_mlflows_own_variable_is_hidden(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.stage_run("pipeline", {}, root=root) as parent:
        monkeypatch.setenv("UMGCLIP_PARENT_RUN_ID", parent.run_id)
        monkeypatch.setenv("MLFLOW_RUN_ID", parent.run_id)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
        monkeypatch.setenv("DVC_EXP_NAME", "brave-owl")
        with tracking.stage_run("train", {}, root=root) as child:
            assert "MLFLOW_RUN_ID" not in os.environ
        assert os.environ["MLFLOW_RUN_ID"] == parent.run_id

    logged = client_of(root).get_run(child.run_id)
    assert child.run_id != parent.run_id
    assert logged.data.tags["mlflow.parentRunId"] == parent.run_id
    assert logged.data.tags["dvc.exp_name"] == "brave-owl"
    assert logged.info.experiment_id == client_of(root).get_run(parent.run_id).info.experiment_id


STAGE = """
import json, pathlib, umgclip.tracking as tracking
here = pathlib.Path.cwd()
said = [tracking.store_from_env(here).uri, str(tracking.spool_folder(here)), tracking.experiment()]
pathlib.Path("said.json").write_text(json.dumps(said))
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", [pytest.param(".", marks=pytest.mark.heavy), "below"])
def test_an_experiment_in_a_folder_that_dvc_deletes_uses_the_checkouts_store(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    project = tmp_path / place
    project.mkdir(exist_ok=True)
    (project / "stage.py").write_text(STAGE)
    stage = {"cmd": f"{sys.executable} stage.py", "deps": ["stage.py"], "outs": [{"said.json": {"cache": False}}]}
    (project / "dvc.yaml").write_text(json.dumps({"stages": {"register": stage}}))
    settings = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    dvc = f"{sys.executable} -m dvc"
    made = f"git init -q . && {dvc} init -q && git add -A && git commit -qm start"
    tried = f"cd {place} && {dvc} exp run --quiet --temp --name brave-owl"
    for command in (made, tried):
        environment = {**os.environ, **settings, "PYTHONPATH": str(Path(tracking.__file__).parents[2])}
        subprocess.run(command, shell=True, cwd=tmp_path, env=environment, check=True)

    shown = ["git", "-C", str(tmp_path), "for-each-ref", "--format=%(refname)", "refs/exps"]
    [ref] = [
        r for r in subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split() if "brave" in r
    ]
    blob = ["git", "-C", str(project), "show", f"{ref}:./said.json"]
    said = json.loads(subprocess.run(blob, capture_output=True, text=True, check=True).stdout)

    assert not (project / "said.json").exists()
    assert said == [f"sqlite:///{project / 'mlflow.db'}", str(project / ".umgclip" / "spool"), "brave-owl"]


def test_an_unknown_parent_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMGCLIP_PARENT_RUN_ID", "0" * 32)

    with pytest.raises(TrackingError, match="UMGCLIP_PARENT_RUN_ID: expected a run of MLflow at sqlite:.*0000"):
        tracking.stage_run("train", {}, root=root).__enter__()


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(2), "FAILED")]
)
def test_a_run_that_ends_badly_says_how_and_keeps_its_metrics(root: Path, error: BaseException, status: str) -> None:
    opened = []

    def work() -> None:
        with tracking.stage_run("train", {}, root=root) as run:
            opened.append(run.run_id)
            run.log_metrics({"loss": 2.0}, 7)
            raise error

    with pytest.raises(type(error)):
        work()

    logged = client_of(root).get_run(opened[0])
    assert logged.info.status == status
    assert logged.data.metrics == {"loss": 2.0}


def test_an_interruption_whose_handling_failed_is_one_all_the_same(root: Path) -> None:
    opened = []

    def work() -> None:
        with tracking.stage_run("train", {}, root=root) as run:
            opened.append(run.run_id)
            try:
                raise KeyboardInterrupt
            finally:
                raise BrokenPipeError(errno.EPIPE, "nobody reads the last line of progress")

    with pytest.raises(BrokenPipeError):
        work()

    assert client_of(root).get_run(opened[0]).info.status == "KILLED"


def test_the_commit_is_tagged(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "dvc.lock").write_text("1")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    def tags() -> dict[str, str]:
        with tracking.stage_run("base", {}, root=tmp_path) as run:
            pass
        return dict(client_of(root).get_run(run.run_id).data.tags)

    (tmp_path / "dvc.lock").write_text("rewritten by the run itself")
    clean = tags()
    (tmp_path / "code.py").write_text("2")
    dirty = tags()

    assert clean["mlflow.source.git.commit"] == commit
    assert (clean["umgclip.git_dirty"], dirty["umgclip.git_dirty"]) == ("false", "true")


def test_metrics_are_written_in_batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tracking.stage_run("train", {}, root=root) as run:
        calls = []
        write = run._client.log_batch
        monkeypatch.setattr(run._client, "log_batch", lambda *a, **k: (calls.append(len(k["metrics"])), write(*a, **k)))
        for step in range(400):
            run.log_metrics({"a": 1.0, "b": 2.0, "c": 3.0}, step)

    assert sum(calls) == 1200
    assert len(calls) <= 4
    assert len(client_of(root).get_metric_history(run.run_id, "c")) == 400


def refuse(*_: object, **__: object) -> None:
    raise OSError("connection lost")


def test_what_a_store_misses_is_sent_by_the_next_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with monkeypatch.context() as patch, tracking.stage_run("train", {}, root=root) as run:
        run.log_metrics({"loss": -1.0}, 0)
        run.flush()
        for name in ("log_batch", "log_artifact", "set_tag", "set_terminated"):
            patch.setattr(run._client, name, refuse)
        for step in range(1, 2001):
            run.log_metrics({"loss": float(step)}, step)
        run.log_artifact(note)
        run.set_tags({"said": "later"})
    note.unlink()

    warnings = [record.message for record in caplog.records if "could not send metrics" in record.message]
    assert len(warnings) == 2  # once when the journal was full, once at the end; not at every step
    [journal] = (root / ".umgclip" / "spool").glob("*.jsonl")
    assert f"2000 metric values and the end of run {run.run_id} as FINISHED wait in {journal}" in caplog.text
    assert client_of(root).get_run(run.run_id).info.status == "RUNNING"

    before = int(time.time() * 1000)
    with tracking.stage_run("evaluate", {}, root=root):
        logged = client_of(root).get_run(run.run_id)

    assert (logged.info.status, logged.data.tags["said"]) == ("FINISHED", "later")
    assert logged.info.end_time <= before
    history = client_of(root).get_metric_history(run.run_id, "loss")
    assert [(value.step, value.value) for value in history] == [(0, -1.0), *((n, float(n)) for n in range(1, 2001))]
    assert (root / "mlartifacts" / run.run_id / "artifacts" / "note.txt").read_text() == "hello"
    assert list((root / ".umgclip" / "spool").iterdir()) == []


def test_a_batch_whose_answer_was_lost_is_there_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tracking.stage_run("train", {}, root=root) as run:
        write = run._client.log_batch

        def write_and_fail(*words: object, **named: object) -> None:
            write(*words, **named)
            raise OSError("connection lost")

        with monkeypatch.context() as patch:
            patch.setattr(run._client, "log_batch", write_and_fail)
            for step in range(3):
                run.log_metrics({"loss": 0.5, "bad": float("nan")}, step)
            run.flush()

    assert [value.step for value in client_of(root).get_metric_history(run.run_id, "loss")] == [0, 1, 2]
    assert [value.step for value in client_of(root).get_metric_history(run.run_id, "bad")] == [0, 1, 2]


KILLED = """
import os, signal, sys
from pathlib import Path
from umgclip import tracking
with tracking.stage_run("train", {}, root=Path(sys.argv[1])) as run:
    for step in range(7):
        run.log_metrics({"loss": 1.0}, step)
    print(run.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_whose_process_was_killed_is_ended_by_the_next(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, root], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    killed = done.stdout.strip()
    assert client_of(root).get_run(killed).info.status == "RUNNING"

    with (
        tracking.stage_run("train", {}, root=root) as alive,
        tracking.stage_run("evaluate", {}, root=root),
    ):
        assert client_of(root).get_run(alive.run_id).info.status == "RUNNING"  # its process lives

    ended = client_of(root).get_run(killed)
    assert (ended.info.status, ended.data.metrics) == ("KILLED", {"loss": 1.0})
    assert len(client_of(root).get_metric_history(killed, "loss")) == 7
    assert client_of(root).get_run(alive.run_id).info.status == "FINISHED"


def test_what_is_for_another_store_or_a_deleted_run_is_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    monkeypatch.setenv("UMGCLIP_SPOOL", str(tmp_path / "spool"))
    with monkeypatch.context() as patch, tracking.stage_run("train", {}, root=tmp_path) as gone:
        patch.setattr(gone._client, "set_terminated", refuse)
    client_of(root).delete_run(gone.run_id)
    other = tmp_path / "spool" / "other.jsonl"
    other.write_text(
        '00000000000000000000\n{"store": "http://elsewhere", "run_id": "b"}\n{"end": "FINISHED", "at": 1}\n'
    )
    (tmp_path / "spool" / "strange.jsonl").write_text("what?")

    done = tracking.deliver(tracking.store_from_env(tmp_path), tmp_path)

    assert done.sent == ()
    assert [path.name for path, _ in done.waiting] == sorted([f"{gone.run_id}.jsonl", "other.jsonl"])
    assert "it is for MLflow at http://elsewhere" in [why for _, why in done.waiting]
    names = {path.name for path in (tmp_path / "spool").iterdir()}
    assert names == {f"{gone.run_id}.refused", "other.jsonl", "strange.damaged"}
    assert "strange.jsonl: expected the journal of a run" in caplog.text


@pytest.mark.parametrize("at", ["start", "later"])
def test_a_spool_that_cannot_be_written_costs_a_warning(
    at: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if at == "start":
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("UMGCLIP_SPOOL", str(tmp_path / "file"))

    with tracking.stage_run("train", {}, root=root) as run:
        run.log_metrics({"loss": 1.0}, 0)
        if at == "later":
            monkeypatch.setattr(os, "pwrite", full)
        for step in (1, 2):
            run.log_metrics({"loss": 1.0}, step)
        run.set_tags({"a": "b"})

    logged = client_of(root).get_run(run.run_id)
    assert (logged.info.status, logged.data.tags["a"]) == ("FINISHED", "b")
    assert [value.step for value in client_of(root).get_metric_history(run.run_id, "loss")] == [0, 1, 2]
    assert caplog.text.count("cannot be written") == 1


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("values", "message"),
    [({"recall@1": 1.0}, r"metric 'recall@1': expected letters"), ({"loss": "high"}, "metric loss: expected a number")],
)
def test_bad_metrics_are_named(
    root: Path, values: dict[str, float], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as in production, where no hook is faster
    with (
        tracking.stage_run("train", {}, root=root) as run,
        pytest.raises(InputError, match=message),
    ):
        run.log_metrics(values)


def test_a_server_that_is_down_is_named_within_bounded_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    port = closed_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    before = time.monotonic()

    with pytest.raises(TrackingError) as caught:
        tracking.stage_run("train", {}, root=tmp_path).__enter__()

    assert time.monotonic() - before < 20
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "cannot be reached: NewConnectionError(" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


@pytest.mark.parametrize("uri", ["sqlite:////dev/null/mlflow.db", "nonsense://x"])
def test_a_store_that_cannot_be_opened_is_named(uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    with pytest.raises(TrackingError, match=r"MLflow at (sqlite|nonsense):"):
        tracking.stage_run("train", {}, root=tmp_path).__enter__()


def test_importing_the_module_does_not_import_mlflow() -> None:
    code = "import sys, umgclip.tracking; sys.exit('mlflow' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_threads_that_change_the_same_variables_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UMGCLIP_TEST_ONE", raising=False)
    monkeypatch.setenv("UMGCLIP_TEST_TWO", "before")
    first = tracking.environment({"UMGCLIP_TEST_ONE": "1", "UMGCLIP_TEST_TWO": None})
    second = tracking.environment({"UMGCLIP_TEST_ONE": "2"})
    first.__enter__()
    second.__enter__()
    assert (os.environ["UMGCLIP_TEST_ONE"], "UMGCLIP_TEST_TWO" in os.environ) == ("2", False)
    first.__exit__(None, None, None)  # as when the other thread goes on
    assert (os.environ["UMGCLIP_TEST_ONE"], os.environ["UMGCLIP_TEST_TWO"]) == ("2", "before")  # the other's stays
    second.__exit__(None, None, None)
    assert "UMGCLIP_TEST_ONE" not in os.environ


def test_a_second_signal_does_not_leave_the_run_open(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    original = tracking.Run.close

    def close(run: tracking.Run, status: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        original(run, status)

    monkeypatch.setattr(tracking.Run, "close", close)
    with pytest.raises(KeyboardInterrupt), tracking.stage_run("train", {}, root=tmp_path) as run:
        raise KeyboardInterrupt
    assert run.store.client().get_run(run.run_id).info.status == "KILLED"


def test_runs_of_lost_stages_are_ended_by_their_parent(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    with tracking.stage_run("pipeline", {}, root=tmp_path) as parent:
        client = parent.store.client()
        experiment = client.get_run(parent.run_id).info.experiment_id
        tags = {"mlflow.parentRunId": parent.run_id}
        lost, done = (client.create_run(experiment, tags=tags).info.run_id for _ in range(2))
        client.set_terminated(done, "FINISHED")
        parent.close_children()
    assert [client.get_run(one).info.status for one in (lost, done)] == ["KILLED", "FINISHED"]
