"""The flow `pipeline` without a server: order, lineage, overrides, retries, ways out."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from umgclip.errors import InputError, ParamsError
from umgclip.flows.dvc.failures import StageFailed, Unavailable
from umgclip.flows.dvc.repro import repro
from umgclip.flows.pipeline import pipeline

STAGES = ("base", "train", "evaluate", "register")


@pytest.fixture
def client():
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def command_line(*words: str) -> list[str]:
    return [sys.executable, "-m", "flows.pipeline", *words]


def test_stages_run_in_order_under_one_run_of_mlflow(project, client):
    done = pipeline.fn()
    assert project.ran() == list(STAGES)
    assert done["stages"] == dict.fromkeys(STAGES, "ran")
    assert done["version"] == "3"
    run = client.get_run(done["mlflow_run"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["umgclip.stage.train"] == "ran here"
    assert re.fullmatch("[0-9a-f]{64}", run.data.tags["umgclip.dvc_lock_sha256"])
    assert run.data.tags["mlflow.source.git.commit"] == project.run("git rev-parse HEAD").strip()
    assert run.data.metrics["seconds.train"] > 0
    logged = {entry.path for entry in client.list_artifacts(run.info.run_id, "dvc")}
    assert logged == {"dvc/dvc.lock", "dvc/dvc.yaml", "dvc/params.yaml", "dvc/data.dvc"}


def test_a_second_run_notes_what_was_up_to_date_or_cached(forked, project):
    pipeline.fn("evaluate")
    project.run("rm -r artifacts/train")
    assert pipeline.fn("evaluate")["stages"] == {"base": "unchanged", "train": "cached", "evaluate": "unchanged"}
    assert pipeline.fn("base", force=True)["stages"] == {"base": "ran"}
    assert project.ran() == ["base", "train", "evaluate", "base"]


def test_stages_behind_one_that_looks_each_time_cost_no_process_each(forked, project, monkeypatch):
    """Check a stage like `code`, the first one in projects created by `umgclip init`."""
    path = project.root / "dvc.yaml"
    looks = "code:\n    cmd: echo 1 > code.txt\n    always_changed: true\n    outs: [{code.txt: {cache: false}}]\n"
    text = path.read_text().replace("stages:\n", f"stages:\n  {looks}", 1)
    path.write_text(text.replace("deps: [data, stage.py]", "deps: [data, stage.py, code.txt]"))
    pipeline.fn("evaluate")
    alone = []

    def noted(workspace, stage, *options, **settings):
        alone.append(stage)
        return repro(workspace, stage, *options, **settings)

    monkeypatch.setattr("umgclip.flows.execution.repro", noted)
    done = pipeline.fn("evaluate")
    assert done["stages"] == {"code": "ran", "base": "unchanged", "train": "unchanged", "evaluate": "unchanged"}
    assert alone == ["code"]
    assert project.ran() == ["base", "train", "evaluate"]


def test_overrides_hold_during_the_run_and_are_put_back(forked, project, client):
    before = (project.root / "params.yaml").read_bytes()
    done = pipeline.fn("train", overrides={"train.lora.rank": 8})
    assert json.loads((project.root / "metrics" / "train.json").read_text())["rank"] == 8
    assert (project.root / "params.yaml").read_bytes() == before
    run = client.get_run(done["mlflow_run"])
    assert run.data.params["overrides.train.lora.rank"] == "8"
    folder = Path(client.download_artifacts(run.info.run_id, "dvc"))
    assert "rank: 8" in (folder / "params.yaml").read_text()
    (project.desk / "train.exit").write_text("3")
    with pytest.raises(StageFailed):
        pipeline.fn("train", overrides={"train.lora.rank": 4})
    assert (project.root / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"target": "trian"}, InputError, "target: expected one of base, train, evaluate, register, got 'trian'"),
        ({"overrides": {"train.lora.rnk": 1}}, ParamsError, "unknown key train.lora.rnk; expected one of train.lora"),
        ({"overrides": {"train.steps": "many"}}, ParamsError, "train.steps: Input should be a valid integer"),
        (
            {"target": "base", "overrides": {"train.steps": 1}},
            ParamsError,
            "train.steps is not a parameter of any stage in this run",
        ),
        (
            {"overrides": {"data.seed": 1}},
            ParamsError,
            "data.seed is not a parameter of any stage in this run; expected one of base",
        ),
    ],
)
def test_a_wrong_request_ends_before_anything_starts(project, asked, error, message):
    with pytest.raises(error) as caught:
        pipeline.fn(**asked)
    assert message in str(caught.value)
    assert project.ran() == []


def test_an_infrastructure_failure_is_tried_again_and_a_closed_gate_never(forked, project):
    (project.desk / "base.exit").write_text("6")
    assert pipeline.fn("base")["stages"] == {"base": "ran"}
    assert project.ran() == ["base", "base"]
    (project.desk / "train.exit").write_text("4\n6\n6")
    with pytest.raises(StageFailed) as caught:
        pipeline.fn("train")
    assert caught.value.exit_code == 4
    assert project.ran() == ["base", "base", "train"]
    with pytest.raises(Unavailable):  # one retry, two failures
        pipeline.fn("train")


def test_a_failed_run_is_failed_in_mlflow_and_has_its_files(forked, project, client):
    (project.desk / "train.exit").write_text("4")
    with pytest.raises(StageFailed):
        pipeline.fn("train")
    (run,) = client.search_runs(["1"], "attributes.status = 'FAILED'", max_results=1)
    assert "dvc/dvc.lock" in {entry.path for entry in client.list_artifacts(run.info.run_id, "dvc")}


def test_a_stage_that_takes_too_long_is_ended_and_tried_again(project, tmp_path, alive):
    (tmp_path / "settings.yaml").write_text("stages: {base: {timeout_s: 8.0, retries: 0}}\n")
    (project.desk / "base.sleep").touch()
    with pytest.raises(Unavailable, match="took longer than 8 s and was ended"):
        pipeline.fn("base")
    pids = (project.desk / "base.pids").read_text().split()
    assert len(pids) == 3
    assert not any(alive(int(pid)) for pid in pids)


def test_a_dry_run_says_what_would_run(forked, project):
    would = pipeline.fn(dry_run=True, overrides={"train.lora.rank": 8})["would"]
    assert would["train"].startswith("run: changed deps: artifacts/base")
    assert project.ran() == []


def test_a_clone_leaves_the_checkout_alone_and_its_results_in_the_cache(forked, project):
    before = project.run("git status --porcelain --ignored")
    done = pipeline.fn("evaluate", overrides={"train.lora.rank": 8}, workspace="clone")
    assert done["stages"]["evaluate"] == "ran"
    assert project.run("git status --porcelain --ignored") == before
    # what was computed there is restored here
    assert pipeline.fn("evaluate", overrides={"train.lora.rank": 8})["stages"]["train"] == "cached"
    assert project.ran() == ["base", "train", "evaluate"]


def test_a_pool_needs_a_server(forked, project, tmp_path, monkeypatch):
    (tmp_path / "settings.yaml").write_text("stages: {train: {pool: gpu}}\n")
    with pytest.raises(InputError, match=r"remote\.url: expected one, or UMGCLIP_REMOTE_URL"):
        pipeline.fn("train")
    monkeypatch.setenv("UMGCLIP_REMOTE_URL", str(tmp_path / "remote"))
    with pytest.raises(InputError, match="expected a Prefect server in PREFECT_API_URL, got none"):
        pipeline.fn("train")
    with pytest.raises(InputError, match="force: expected stages that run here, but train runs on pool gpu"):
        pipeline.fn("train", force=True)
    (tmp_path / "settings.yaml").write_text("stages: {register: {pool: gpu}}\n")
    with pytest.raises(InputError, match=r"stages\.register\.pool: expected null, got gpu: it runs every time"):
        pipeline.fn()


def test_a_remote_shares_results_between_checkouts(forked, project, template, tmp_path, monkeypatch):
    monkeypatch.setenv("UMGCLIP_REMOTE_URL", str(tmp_path / "remote"))
    pipeline.fn("evaluate")
    assert not (project.root / ".dvc" / "config.local").exists()
    project.run(f"git clone -q . {tmp_path / 'other'}")
    monkeypatch.chdir(tmp_path / "other")
    done = pipeline.fn("evaluate")
    # raw data came from the remote, and so did everything else
    assert done["stages"] == dict.fromkeys(STAGES[:3], "cached")
    assert project.ran() == ["base", "train", "evaluate"]


def test_the_command_line_ends_with_the_codes_of_the_stages(project):
    (project.desk / "base.exit").write_text("4")
    ended = subprocess.run(command_line("--target", "base"), capture_output=True, text=True, check=False)
    assert ended.returncode == 4, ended.stderr
    assert "flows.pipeline: stage base: exit code 4" in ended.stderr
    assert "Traceback" not in ended.stderr
    ended = subprocess.run(command_line("--set", "train.stepps=1"), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "unknown key train.stepps" in ended.stderr
    ended = subprocess.run(command_line("--target", "base"), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "base: starting" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_no_process_and_the_old_params(project, client, alive, wait_until, number):
    before = (project.root / "params.yaml").read_bytes()
    (project.desk / "train.sleep").touch()
    words = command_line("--target", "train", "--set", "train.lora.rank=8")
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    pids = project.desk / "train.pids"
    assert wait_until(lambda: pids.is_file() and len(pids.read_text().split()) == 3, 60), process.poll()
    assert b"rank: 8" in (project.root / "params.yaml").read_bytes()
    process.send_signal(number)
    out = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130, out
    assert not any(alive(int(pid)) for pid in pids.read_text().split())
    assert (project.root / "params.yaml").read_bytes() == before
    (run,) = client.search_runs(["1"], "attributes.status = 'KILLED'", max_results=1)
    assert run.info.run_name == "pipeline"
    with pytest.raises(ProcessLookupError):  # not even a helper in the run's own session
        os.killpg(process.pid, 0)


def killed(project, wait_until, alive, *words: str) -> Path:
    """Begin a run whose training is killed with the whole run, by signal 9, half way; gives the clone."""
    (project.desk / "train.sleep").touch()
    process = subprocess.Popen(command_line("--clone", *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    pids = project.desk / "train.pids"
    assert wait_until(lambda: pids.is_file() and len(pids.read_text().split()) == 3, 60), process.poll()
    clone = Path((project.desk / "ran.log").read_text().splitlines()[-1].split()[2])
    (clone / "artifacts" / ".train").mkdir()
    (clone / "artifacts" / ".train" / "checkpoint").write_text("half way")
    process.kill()
    process.communicate()
    assert wait_until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))
    (project.desk / "train.sleep").unlink()
    return clone


def test_a_run_that_was_killed_in_its_clone_goes_on_where_it_was(
    forked, project, monkeypatch, wait_until, alive, tmp_path
):
    monkeypatch.setenv("UMGCLIP_WORKER_DIR", str(tmp_path / "own"))
    overrides = {"train.lora.rank": 8}
    clone = killed(project, wait_until, alive, "--target", "train", "--set", "train.lora.rank=8")
    # another run is no matter of this one
    assert pipeline.fn("train", overrides={"train.lora.rank": 4}, workspace="clone")["stages"]["train"] == "ran"
    assert (clone / "artifacts" / ".train" / "checkpoint").read_text() == "half way"
    (project.desk / "train.exit").write_text("1")
    with pytest.raises(StageFailed):
        pipeline.fn("train", overrides=overrides, workspace="clone")
    assert (clone / "artifacts" / ".train" / "checkpoint").read_text() == "half way"
    done = pipeline.fn("train", overrides=overrides, workspace="clone")
    assert done["stages"] == {"base": "unchanged", "train": "ran"}
    places = [line.split()[2] for line in (project.desk / "ran.log").read_text().splitlines() if "train " in line]
    assert [place == str(clone) for place in places] == [True, False, True, True]
    assert project.ran().count("base") == 1
    assert not any((tmp_path / "own" / "clones").iterdir())


GATE = """\
  validate:
    cmd: mkdir -p artifacts/data_docs && echo why > artifacts/data_docs/index.html &&
      echo rows > artifacts/data_docs/failed_quarantine.parquet && exit 4
    deps: [artifacts/base]
    outs: [artifacts/validate]
  train:
"""


@pytest.mark.parametrize("place", ["clone", "here"])
def test_a_closed_gate_leaves_its_pages_and_rows_in_mlflow(forked, project, client, place):
    path = project.root / "dvc.yaml"
    path.write_text(path.read_text().replace("  train:\n", GATE))
    project.run("git commit -q -a -m gate")
    (project.root / "artifacts" / "evaluate").mkdir(parents=True)  # of an earlier run
    with pytest.raises(StageFailed) as caught:
        pipeline.fn(workspace=place)
    assert caught.value.exit_code == 4
    (run,) = client.search_runs(["1"], "attributes.status = 'FAILED'", max_results=1)
    logged = {entry.path for entry in client.list_artifacts(run.info.run_id, "data_docs")}
    assert logged == {"data_docs/index.html", "data_docs/failed_quarantine.parquet"}
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {"dvc", "data_docs"}


def test_a_stage_that_fails_later_leaves_the_pages_of_those_before_it(forked, project, client):
    path = project.root / "dvc.yaml"
    opened = GATE.replace("exit 4", "mkdir artifacts/validate && cp artifacts/data_docs/* artifacts/validate")
    path.write_text(
        path.read_text().replace("  train:\n", opened).replace("[artifacts/base, s", "[artifacts/validate, s")
    )
    project.run("git commit -q -a -m gate")
    (project.desk / "train.exit").write_text("3")
    with pytest.raises(StageFailed):
        pipeline.fn("train", workspace="clone")
    (run,) = client.search_runs(["1"], "attributes.status = 'FAILED'", max_results=1)
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {"dvc", "data_docs", "validate"}


@pytest.mark.parametrize(
    ("file", "text", "loaded"),
    [
        ("pyproject.toml", "dependencies = ['prefect']", "False"),
        ("prefect.toml", "[api]", "True"),
        (".env", "PREFECT_API_URL=http://127.0.0.1:1/api", "True"),
    ],
)
def test_prefect_is_loaded_only_where_a_server_could_be_named(tmp_path, file, text, loaded):
    (tmp_path / file).write_text(text)
    script = "import sys, flows.pipeline; print('prefect' in sys.modules, callable(flows.pipeline.pipeline.fn))"
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.stdout.split() == [loaded, "True"], done.stderr
