"""The checkout: what changes there during a run is put back, and clones are the commit."""

import os
import subprocess
from pathlib import Path

import pytest

from umgclip.errors import InputError
from umgclip.flows.dvc.failures import StageFailed
from umgclip.flows.dvc.repro import NotRestored, StageState, repro, restore
from umgclip.flows.dvc.status import forecast
from umgclip.flows.dvc.workspace import (
    LOCAL_CONFIG,
    PARAMS,
    Workspace,
    cache_folder,
    clone,
    configure,
    environment,
    find_root,
    git,
    kept_clone,
    other_params,
    restored,
)

pytestmark = pytest.mark.usefixtures("forked")


@pytest.fixture
def workspace(project):
    return Workspace(project.root, environment(project.root))


def edited(root: Path, old: str, new: str) -> None:
    path = root / PARAMS
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_file_is_put_back_after_errors_too(tmp_path):
    path = tmp_path / "a"
    with restored(path):
        path.write_text("new")
    assert not path.exists()
    path.write_bytes(b"old\r\n")
    with pytest.raises(KeyboardInterrupt), restored(path):
        path.write_text("new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old\r\n"


def test_params_hold_overrides_for_the_time_of_a_run(project):
    before = (project.root / PARAMS).read_bytes()
    with pytest.raises(KeyboardInterrupt), other_params(project.root, "other\n"):
        assert (project.root / PARAMS).read_text() == "other\n"
        with pytest.raises(InputError, match="another run with overrides is active"), other_params(project.root, "x"):
            pass
        raise KeyboardInterrupt
    assert (project.root / PARAMS).read_bytes() == before
    with other_params(project.root, before.decode()):  # and once more, as nothing is left behind
        pass


def test_a_run_that_was_killed_leaves_the_original_and_the_next_one_says_where(project):
    before = (project.root / PARAMS).read_text()
    script = (
        "import os, signal; from pathlib import Path; from umgclip.flows.dvc.workspace import other_params\n"
        "with other_params(Path('.'), 'other'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run(["python", "-c", script], cwd=project.root, check=False)
    assert (project.root / PARAMS).read_text() == "other"
    with pytest.raises(InputError) as caught, other_params(project.root, "x"):
        pass
    command = str(caught.value).split("(")[1].split(")")[0]
    project.run(command)
    assert (project.root / PARAMS).read_text() == before
    with other_params(project.root, "x"):
        pass


def test_local_settings_of_dvc_are_added_to(project, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    (project.root / LOCAL_CONFIG).write_text("['remote \"mine\"']\n    url = /somewhere\n")
    configure(project.root, cache=Path("/cache"), remote=("handoff", "s3://bucket/dvc"))
    listed = project.run("dvc config --local --list")
    for line in (
        "remote.mine.url=/somewhere", "cache.dir=/cache", "core.remote=handoff", "remote.handoff.url=s3://bucket/dvc",
        "remote.handoff.endpointurl=http://127.0.0.1:1",
    ):  # fmt: skip
        assert line in listed


def test_commands_run_the_code_of_the_checkout(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "x")
    variables = environment(project.root, parent_run="abc")
    assert "MLFLOW_RUN_ID" not in variables
    assert variables["UMGCLIP_PARENT_RUN_ID"] == "abc"
    # what MLflow has not got yet outlives a clone
    assert variables["UMGCLIP_SPOOL"] == str(project.root / ".umgclip" / "spool")
    assert environment(project.root / "clone", project.root)["UMGCLIP_SPOOL"] == variables["UMGCLIP_SPOOL"]
    (project.root / "umgclip").mkdir()
    (project.root / "umgclip" / "__init__.py").write_text("")
    script = "import umgclip; print(umgclip.__file__)"
    where = subprocess.run(["python", "-c", script], cwd=project.root, env=variables, capture_output=True, text=True)
    assert where.stdout.strip() == str(project.root / "umgclip" / "__init__.py")


def test_a_clone_is_the_commit_and_shares_the_cache(project):
    (project.root / "stage.py").write_text("not committed")
    with kept_clone(project.root) as root:
        assert git(root, "rev-parse", "HEAD") == git(project.root, "rev-parse", "HEAD")
        assert "not committed" not in (root / "stage.py").read_text()
        assert cache_folder(root) == cache_folder(project.root) == project.root / ".dvc" / "cache"
    assert not root.exists()


def test_a_clone_that_is_there_goes_back_to_the_commit(project, tmp_path):
    commit = git(project.root, "rev-parse", "HEAD")
    clone(str(project.root), commit, tmp_path / "place")
    (tmp_path / "place" / "stage.py").write_text("changed")
    (tmp_path / "place" / "checkpoint").write_text("half way")
    clone(str(project.root), commit, tmp_path / "place")
    assert (tmp_path / "place" / "stage.py").read_text() == (project.root / "stage.py").read_text()
    assert (tmp_path / "place" / "checkpoint").read_text() == "half way"
    with pytest.raises(InputError, match=r"commit 0{40}: expected it in .*; push it there first"):
        clone(str(project.root), "0" * 40, tmp_path / "other")


def test_the_root_is_found_from_below(project, tmp_path, monkeypatch):
    assert find_root(project.root / "data") == project.root
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="git rev-parse"):
        find_root()


def test_a_stage_runs_once_then_is_unchanged_then_cached(project, workspace):
    lines = []
    assert repro(workspace, "base", on_line=lines.append).state == StageState.RAN
    assert "base: starting" in lines
    assert repro(workspace, "base").state == StageState.UNCHANGED
    project.run("rm -r artifacts")
    assert repro(workspace, "base").state == StageState.CACHED
    assert project.ran() == ["base"]


def test_restoring_computes_nothing(project, workspace):
    with pytest.raises(NotRestored, match="stage base: no cache holds its result"):
        restore(workspace, "base")
    assert project.ran() == []
    repro(workspace, "base")
    project.run("rm -r artifacts dvc.lock")
    assert restore(workspace, "base").state == StageState.CACHED
    assert (project.root / "artifacts" / "base" / "result.txt").is_file()
    assert project.ran() == ["base"]


def test_a_stage_that_says_no_ends_with_its_code(project, workspace):
    (project.desk / "base.exit").write_text("4")
    with pytest.raises(StageFailed, match="stage base: exit code 4") as caught:
        repro(workspace, "base")
    assert caught.value.exit_code == 4
    assert "asked to end with 4" in str(caught.value)


def test_what_would_run_is_told_with_the_reason(project, workspace):
    for name in ("base", "train", "evaluate", "register"):
        repro(workspace, name)
    from umgclip.flows.dvc.graph import read_graph

    graph = read_graph(project.root, os.environ)
    told = forecast(workspace, graph, force=False)
    assert told["base"] == told["evaluate"] == "nothing: up to date"
    assert told["register"] == "run: always changed"
    edited(project.root, "rank: 16", "rank: 4")
    told = forecast(workspace, graph, force=False)
    assert told["base"] == "nothing: up to date"
    assert told["train"] == "run: changed deps: params.yaml"
    assert told["evaluate"] == "run, if a stage before it changes its inputs"
    assert set(forecast(workspace, graph, force=True).values()) == {"run: forced"}
