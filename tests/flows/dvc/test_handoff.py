"""A stage computed elsewhere, by the functions that Prefect only starts: order, work, result."""

import json
import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from umgclip.errors import InputError
from umgclip.flows.dvc import orders
from umgclip.flows.dvc.clones import worker_folder
from umgclip.flows.dvc.failures import StageFailed
from umgclip.flows.dvc.graph import read_graph
from umgclip.flows.dvc.handoff import (
    Order,
    carried_files,
    check_commit,
    check_pushed,
    fetch,
    send_inputs,
    source_of,
    work,
)
from umgclip.flows.dvc.repro import NotRestored, StageState, repro
from umgclip.flows.dvc.workspace import Workspace, clone, configure, environment
from umgclip.flows.settings import RemoteSettings

pytestmark = pytest.mark.usefixtures("forked")


@pytest.fixture
def worker(tmp_path, monkeypatch) -> Path:
    """Set a folder for the worker, whose clones and cache are separate from the orchestrator's."""
    monkeypatch.setenv("UMGCLIP_WORKER_DIR", str(tmp_path / "worker"))
    return tmp_path / "worker"


@pytest.fixture
def workspace(project, tmp_path):
    configure(project.root, remote=("handoff", str(tmp_path / "remote")))
    return Workspace(project.root, environment(project.root))


def order_for(project, stage: str, remote: Path, **more) -> Order:
    graph = read_graph(project.root, os.environ)
    told = {"repo": str(project.root), "remote_url": str(remote), **more}
    files = carried_files(project.root, graph, graph.up_to(stage)[-1])
    return Order(commit=check_commit(project.root, graph), stage=stage, files=files, **told)


def where_it_ran(project) -> list[tuple[str, bool]]:
    """Stage, and whether the orchestrator's checkout computed it."""
    lines = (project.desk / "ran.log").read_text().splitlines()
    return [(line.split()[0], line.split()[2] == str(project.root)) for line in lines]


def test_a_stage_goes_there_and_comes_back_computed_once(project, workspace, worker, tmp_path):
    repro(workspace, "base")
    graph = read_graph(project.root, os.environ)
    order = order_for(project, "train", tmp_path / "remote")
    with pytest.raises(NotRestored):
        fetch(workspace, graph, order)
    send_inputs(workspace, graph, order)
    assert work(order).state == StageState.RAN
    assert fetch(workspace, graph, order).state == StageState.CACHED
    assert where_it_ran(project) == [("base", True), ("train", False)]
    # metrics, which git keeps, came too, and dvc.lock is the orchestrator's
    assert json.loads((project.root / "metrics" / "train.json").read_text())["rank"] == 16
    assert "train:" in (project.root / "dvc.lock").read_text()
    assert "Data and pipelines are up to date." in project.run("dvc status train")
    assert not any((worker / "work").iterdir())


def test_values_travel_with_the_order_and_not_through_git(project, workspace, worker, tmp_path):
    repro(workspace, "base")
    graph = read_graph(project.root, os.environ)
    order = order_for(project, "train", tmp_path / "remote", overrides={"train.lora.rank": 4})
    send_inputs(workspace, graph, order)
    commits = project.run("git log --all --format=%H")
    work(order)
    with pytest.raises(NotRestored):  # here the rank is another
        fetch(workspace, graph, order)
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("rank: 16", "rank: 4"))
    assert fetch(workspace, graph, order).state == StageState.CACHED
    assert project.run("git log --all --format=%H") == commits


def test_a_whole_chain_is_computed_there(project, workspace, worker, tmp_path):
    graph = read_graph(project.root, os.environ)
    order = order_for(project, "evaluate", tmp_path / "remote", with_upstream=True, trial="a-trial")
    send_inputs(workspace, graph, order)
    work(order)
    assert fetch(workspace, graph, order).state == StageState.CACHED
    assert where_it_ran(project) == [("base", False), ("train", False), ("evaluate", False)]


def test_an_attempt_that_was_killed_is_taken_up_in_its_place(project, workspace, worker, tmp_path):
    order = order_for(project, "base", tmp_path / "remote")
    graph = read_graph(project.root, os.environ)
    send_inputs(workspace, graph, order)
    # signal 9 to the stage: an infrastructure failure, whose clone stays
    (project.desk / "base.exit").write_text("137")
    with pytest.raises(Exception, match="ended by signal 9"):
        work(order)
    (clone,) = (worker / "work").glob("*/clone")
    (clone / "checkpoint").write_text("half way")
    (project.desk / "base.exit").write_text("4")
    with pytest.raises(StageFailed):
        work(replace_order(order, parent_run="another"))
    # it ran in the same clone, and a stage that says no leaves nothing
    places = [line.split()[2] for line in (project.desk / "ran.log").read_text().splitlines()]
    assert places == [str(clone)] * 2
    assert not any((worker / "work").iterdir())


def replace_order(order: Order, **changes) -> Order:
    return order.model_copy(update=changes)


def test_workers_get_the_commit_so_changes_beside_it_are_refused(project):
    graph = read_graph(project.root, os.environ)
    (project.root / "stage.py").write_text("# changed")
    with pytest.raises(InputError, match=r"expected no other changes, got 1 changed files \(stage\.py\)"):
        check_commit(project.root, graph)
    project.run("git checkout -q stage.py")
    # what DVC and stages write travels with the order
    project.run("dvc repro -q base && echo '{}' > data.dvc")
    assert check_commit(project.root, graph) == project.run("git rev-parse HEAD").strip()


def test_orders_that_do_not_fit_are_refused(project, worker, tmp_path):
    order = order_for(project, "base", tmp_path / "remote")
    for changes, message in (
        ({"files": {"../outside": "x"}}, "'../outside': expected paths inside the clone"),
        ({"stage": "trian"}, "target: expected one of base, train"),
        ({"commit": "0" * 40}, "push it there first"),
        ({"repo": str(tmp_path / "nowhere")}, "expected a repository that this worker may clone"),
        ({"files": {".git/hooks/post-checkout": "x"}}, "expected a path outside .git and .dvc, got one inside"),
        ({"files": {"stage.py": "x"}}, "an input of the stage that git tracks, got another file"),
    ):
        with pytest.raises(InputError, match=message):
            work(replace_order(order, **changes))
    assert not any((worker / "work").iterdir())


def test_a_gate_that_closes_on_a_worker_leaves_its_pages_in_the_run_that_asked(project, workspace, worker, tmp_path):
    path = project.root / "dvc.yaml"
    gate = "  validate:\n    cmd: mkdir -p artifacts/data_docs && touch artifacts/data_docs/index.html && exit 4\n"
    path.write_text(path.read_text() + f"{gate}    deps: [data]\n    outs: [artifacts/validate]\n")
    project.run("git commit -q -a -m gate && dvc push -q")
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run = client.create_run("0").info.run_id
    for trial, folder in ((None, "data_docs"), ("a-trial", "a-trial/data_docs")):
        with pytest.raises(StageFailed, match="exit code 4"):
            work(order_for(project, "validate", tmp_path / "remote", parent_run=run, trial=trial))
        assert [entry.path for entry in client.list_artifacts(run, folder)] == [f"{folder}/index.html"]
    assert not any((worker / "work").iterdir())


@pytest.fixture
def origin(project, tmp_path) -> Path:
    """Create a bare repository that workers could clone, with all commits so far."""
    project.run(f"git init -q --bare {tmp_path / 'origin'} && git remote add origin {tmp_path / 'origin'}")
    project.run("git push -q origin HEAD:main")
    return tmp_path / "origin"


def commit(project) -> str:
    project.run("git commit -q --allow-empty -m more")
    return project.run("git rev-parse HEAD").strip()


def test_a_commit_that_workers_cannot_clone_is_noticed_before_anything_starts(project, origin, tmp_path, caplog):
    def check(settings=None):
        check_pushed(project.root, project.run("git rev-parse HEAD").strip(), settings or RemoteSettings())

    check()
    first = commit(project)
    with pytest.raises(InputError, match=rf"commit {first}: expected it in {origin}, from which workers clone"):
        check()
    project.run("git push -q origin HEAD:another")
    check()
    # somebody goes on from it, which this checkout has not seen, and the branch of ours goes
    project.run(f"git clone -q -b another {origin} {tmp_path / 'somebody'}")
    project.run(
        f"cd {tmp_path / 'somebody'} && git commit -q --allow-empty -m theirs && git push -q origin HEAD:theirs"
    )
    project.run("git push -q origin :another")
    refs = project.run("git for-each-ref")
    check()
    assert project.run("git for-each-ref") == refs
    commit(project)
    with pytest.raises(InputError, match="push it first"):
        check()
    # one that does not answer now may do so for the workers
    check(RemoteSettings(repo=str(tmp_path / "nowhere")))
    assert "could not check whether workers can clone" in caplog.text


def test_no_credentials_leave_with_an_order(project):
    for url, bare in (
        ("https://user:token@host:8443/repo.git", "https://host:8443/repo.git"),
        ("https://token@host/repo.git", "https://host/repo.git"),
        ("https://user:p@ss@host/repo.git", "https://host/repo.git"),
        ("ssh://git:secret@host/repo", "ssh://git@host/repo"),
        ("ssh://git@host/repo", "ssh://git@host/repo"),
        ("git@host:repo", "git@host:repo"),
        ("/srv/repo@2", "/srv/repo@2"),
    ):
        assert orders.without_login(url) == bare
        project.run(f"git remote remove origin; git remote add origin {url}")
        assert source_of(project.root, RemoteSettings()) == bare
    assert source_of(project.root, RemoteSettings(repo="https://token@host/repo")) == "https://host/repo"


def test_a_repository_is_never_an_option_of_git(project, tmp_path):
    with pytest.raises(InputError, match="git clone"):
        clone(f"--upload-pack=touch {tmp_path / 'made'};", "0" * 40, tmp_path / "clone")
    assert not (tmp_path / "made").exists()


def test_where_workers_clone_from(project, monkeypatch):
    assert source_of(project.root, RemoteSettings(repo="https://host/repo")) == "https://host/repo"
    assert source_of(project.root, RemoteSettings()) == str(project.root)
    project.run("git remote add origin git@host:repo")
    assert source_of(project.root, RemoteSettings()) == "git@host:repo"
    monkeypatch.delenv("UMGCLIP_WORKER_DIR", raising=False)
    assert worker_folder() == Path.home() / ".cache" / "umgclip"
