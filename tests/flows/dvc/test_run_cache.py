"""The run-cache by single entries, between checkouts and a remote; an author's `dvc.lock` whose outputs nobody has."""

import os
import re
from pathlib import Path

import pytest

from umgclip.flows.dvc.failures import StageFailed
from umgclip.flows.dvc.handoff import fetch_trial
from umgclip.flows.dvc.repro import StageState, recall, repro
from umgclip.flows.dvc.workspace import Workspace, cache_folder, configure, environment
from umgclip.flows.pipeline import pipeline

STAGES = ["base", "train", "evaluate"]

pytestmark = pytest.mark.usefixtures("forked")


def entries(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.glob("runs/*/*/*")}


def foreign(folder: Path, count: int = 40) -> None:
    """Entries of other stages, such as years of work leave."""
    for number in range(count):
        key = f"{number:02x}" + "e" * 62
        (folder / "runs" / key[:2] / key).mkdir(parents=True)
        (folder / "runs" / key[:2] / key / ("f" * 64)).write_text("cmd: other\nouts: []\n")


@pytest.fixture
def workspace(project, tmp_path):
    configure(project.root, remote=("handoff", str(tmp_path / "remote")))
    return Workspace(project.root, environment(project.root))


@pytest.fixture
def other(project, workspace, tmp_path):
    """Create another checkout of the commit, with a separate cache and the same remote."""
    project.run(f"dvc push -q data.dvc && git clone -q . {tmp_path / 'other'}")
    root = tmp_path / "other"
    configure(root, remote=("handoff", str(tmp_path / "remote")))
    there = Workspace(root, environment(root))
    there.dvc("pull", "data.dvc")
    return there


def test_a_stage_moves_its_own_entry_and_no_other(project, workspace, other, tmp_path):
    foreign(project.root / ".dvc" / "cache")
    for stage in STAGES[:2]:
        assert repro(workspace, stage, "--shared", "--push").state == StageState.RAN
    assert len(entries(tmp_path / "remote")) == 2
    foreign(tmp_path / "remote")
    outcomes = recall(other, STAGES, "--shared")
    assert [(outcome.stage, outcome.state) for outcome in outcomes] == [("base", "cached"), ("train", "cached")]
    assert len(entries(other.root / ".dvc" / "cache")) == 2
    # what git keeps came too, and the stage that nobody has computed was not
    assert (other.root / "metrics" / "train.json").is_file()
    assert project.ran() == STAGES[:2]


def like_the_real_evaluate(root: Path) -> None:
    path = root / "dvc.yaml"
    before = "outs: [artifacts/evaluate]\n    metrics:\n"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, "outs:\n      - artifacts/evaluate\n"))


def test_outputs_that_git_keeps_and_are_no_metrics_come_back_too(project, workspace, other):
    """DVC keeps no entry of such a stage by itself."""
    for root in (project.root, other.root):
        like_the_real_evaluate(root)
    for stage in STAGES:
        repro(workspace, stage, "--shared", "--push")
    assert [outcome.state for outcome in recall(other, STAGES, "--shared")] == ["cached"] * 3
    assert (other.root / "metrics" / "evaluate.json").is_file()


@pytest.mark.heavy
def test_a_trial_comes_back_by_its_list(project, workspace, other, tmp_path):
    for stage in STAGES:
        repro(workspace, stage, "--push")
    foreign(tmp_path / "remote")
    assert workspace.dvc_repo("upload", "--trial", "sweep-001", *STAGES).code == 0
    fetch_trial(other, "sweep-001")
    assert len(entries(other.root / ".dvc" / "cache")) == 3
    assert [outcome.state for outcome in recall(other, STAGES)] == ["cached"] * 3
    with pytest.raises(StageFailed, match=r"sweep-001: expected a list of its results in the remote at .*, found none"):
        fetch_trial(other, "sweep-001")


def author(project) -> None:
    """Commit a `dvc.lock` in which base and train gave other bytes on a machine that nobody can reach."""
    path = project.root / "dvc.lock"
    lock = path.read_text()
    for number, folder in enumerate(("base", "train")):
        match = re.search(rf"path: artifacts/{folder}\n\s+hash: md5\n\s+md5: (\w+)", lock)
        lock = lock.replace(match[1], f"{number}" * 32)
    path.write_text(lock)
    project.run("git add -A && git commit -q -m 'of the author' && rm -rf artifacts")


def test_this_machines_results_count_where_the_author_had_others(project):
    pipeline.fn("evaluate")
    author(project)
    # the author's evaluation gave the same
    expected = {"base": "cached", "train": "cached", "evaluate": "unchanged"}
    assert pipeline.fn("evaluate", workspace="clone")["stages"] == expected
    assert project.ran() == STAGES
    assert pipeline.fn("evaluate")["stages"] == dict.fromkeys(STAGES, "cached")
    assert project.ran() == STAGES


@pytest.mark.heavy
def test_a_remotes_results_count_where_the_author_had_others(project, workspace, other):
    for stage in STAGES:
        repro(workspace, stage, "--push")
    author(project)
    (other.root / "dvc.lock").write_text((project.root / "dvc.lock").read_text())
    assert [outcome.state for outcome in recall(other, STAGES, "--shared")] == ["cached"] * 3


@pytest.mark.heavy
def test_what_is_up_to_date_in_a_checkout_is_known_to_clones_of_it(project):
    """Check a stage like the real `evaluate`, of which `dvc repro` itself stores no run-cache entry."""
    like_the_real_evaluate(project.root)
    project.run("dvc repro -q evaluate && git commit -q -a -m 'another way to keep it'")
    assert len(entries(project.root / ".dvc" / "cache")) == 2
    assert cache_folder(project.root) == project.root / ".dvc" / "cache"
    assert len(entries(project.root / ".dvc" / "cache")) == 3
    author(project)
    assert pipeline.fn("evaluate", workspace="clone")["stages"] == {
        "base": "cached",
        "train": "cached",
        "evaluate": "unchanged",
    }
    assert project.ran() == STAGES


def test_a_wrong_remote_is_said(project, tmp_path, monkeypatch):
    monkeypatch.setenv("UMGCLIP_REMOTE_URL", str(tmp_path / "file" / "remote"))
    (tmp_path / "file").touch()
    with pytest.raises(StageFailed) as caught:
        pipeline.fn("base")
    assert os.strerror(20) in str(caught.value)
