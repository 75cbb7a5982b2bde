"""Compute a stage on another machine: the orchestrator's upload, the worker's part, and the return of the result.

DVC's remote transfers files, the order transfers values. Only the orchestrator writes `dvc.lock`; nobody commits to
git.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from umgclip.errors import InputError
from umgclip.flows.dvc import checkpoints, clones, orders
from umgclip.flows.dvc.evidence import ReachedStages, evidence
from umgclip.flows.dvc.failures import explain
from umgclip.flows.dvc.follow import follow
from umgclip.flows.dvc.graph import Graph, Stage, read_graph
from umgclip.flows.dvc.overrides import overridden
from umgclip.flows.dvc.process import OnLine, ignore
from umgclip.flows.dvc.repro import NotRestored, Outcome, recall, repro
from umgclip.flows.dvc.workspace import PARAMS, Workspace, clone, configure, environment, git
from umgclip.flows.settings import RemoteSettings, load_settings
from umgclip.io.atomic import write_bytes
from umgclip.learning.nodes import Seat
from umgclip.tracking import SPOOL

_log = logging.getLogger("umgclip.flows")
_LOCK = "dvc.lock"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"


class Order(BaseModel):
    """The request to a worker to compute a stage; it holds small texts only, as files go through the remote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str = Field(min_length=1, max_length=2000, description="git URL or path of the repository to clone")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$", description="full hash")
    stage: str
    with_upstream: bool = Field(default=False, description="also bring the stages that it needs up to date")
    overrides: dict[str, Any] = Field(default={}, description="parameter values by dotted key")
    files: dict[str, str] = Field(default={}, description="dvc.lock and similar files of the orchestrator")
    remote: str = Field(default="handoff", pattern=r"^[A-Za-z0-9_-]+$", description="name of DVC's remote")
    remote_url: str = Field(max_length=2000, pattern=r"^[^\x00-\x1f\x7f]+$")
    parent_run: str | None = Field(
        default=None, pattern=_NAME, description="MLflow run that is the parent of the stage's run"
    )
    trial: str | None = Field(
        default=None, pattern=_NAME, description="name of the experiment that the stage belongs to"
    )
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    nodes: int = Field(default=1, ge=1, description="nodes that compute it together, one order each")
    node: int = Field(default=0, ge=0, description="index of this node; the first one returns the result")
    first: UUID | None = Field(default=None, description="flow run of the first node, set for the others")

    def key(self) -> str:
        """Return a key of the computation, independent of who requests it and of the node."""
        others = {"parent_run", "timeout_s", "nodes", "node", "first"}
        return hashlib.sha256(self.model_dump_json(exclude=others).encode()).hexdigest()[:16]


def pointers(graph: Graph) -> list[str]:
    """Return the names of the `.dvc` files, which track raw data."""
    return [node.name for node in graph.nodes if not node.command]


def pull_raw(workspace: Workspace, graph: Graph) -> None:
    """Download raw data that is missing in the workspace.

    Raises:
        StageFailed, Unavailable: the download failed.
    """
    share_raw(workspace, graph, push=False)


def share_raw(workspace: Workspace, graph: Graph, *, push: bool) -> None:
    """Download raw data that is missing, and with `push` upload raw data that the remote does not have.

    Raises:
        StageFailed, Unavailable: the transfer failed.
    """
    finished = workspace.dvc_repo("share", *pointers(graph), *(["--push"] if push else []))
    if finished.code != 0:
        raise explain("sharing raw data", finished)


def check_commit(root: Path, graph: Graph) -> str:
    """Return the hash of the current commit, after checking that the checkout does not differ from it.

    Raises:
        InputError: code or params differ from the commit, and workers only get the commit.
    """
    carried = [_LOCK, *pointers(graph), *(path for stage in graph.stages for path in stage.kept_by_git)]
    excluded = [f":(top,exclude){path}" for path in carried]
    changed = git(root, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *excluded).splitlines()
    if changed:
        listed = ", ".join(line.split(maxsplit=1)[-1] for line in changed[:5])
        raise InputError(
            f"{root}: a stage runs on another machine, which only gets the commit: expected no other changes, got "
            f"{len(changed)} changed files ({listed}); commit them, and pass params as overrides"
        )
    return git(root, "rev-parse", "HEAD")


def source_of(root: Path, settings: RemoteSettings) -> str:
    """Return the repository that workers clone, without its login: the setting, git's origin, or this checkout."""
    return orders.without_login(settings.repo or _origin(root) or str(root))


def check_pushed(
    root: Path, commit: str, settings: RemoteSettings, warn: Callable[[str], object] = _log.warning
) -> None:
    """Check that the repository that workers clone has a commit; only warn if it does not answer.

    Raises:
        InputError: the repository does not have the commit.
    """
    repo = settings.repo or _origin(root)
    if repo is None:
        return
    bare = orders.without_login(repo)
    try:
        tips = _tips(root, repo)
        if _reaches(root, tips, commit):
            return
        # fetches objects only: no branch changes, local or remote
        git(root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", "--", repo, *tips)
    except InputError as error:
        warn(f"could not check whether workers can clone {commit}: {str(error).replace(repo, bare)}")
        return
    if not _reaches(root, tips, commit):
        raise InputError(
            f"commit {commit}: expected it in {bare}, from which workers clone, found it in no branch or tag there; "
            f"push it first"
        )


def _tips(root: Path, repo: str) -> list[str]:
    """Return the commits of a repository's branches and tags."""
    lines = (line.split() for line in git(root, "ls-remote", "--heads", "--tags", "--", repo).splitlines())
    return sorted({name.removesuffix("^{}"): commit for commit, name in lines}.values())


def _reaches(root: Path, tips: Sequence[str], commit: str) -> bool:
    """Return whether one of the tips known here is the commit or a descendant of it."""
    return bool(tips) and not git(root, "rev-list", "--ignore-missing", "--max-count=1", commit, "--not", *tips)


def _origin(root: Path) -> str | None:
    try:
        return git(root, "remote", "get-url", "origin")
    except InputError:
        return None


def carried_files(root: Path, graph: Graph, stage: Stage) -> dict[str, str]:
    """Return the contents of the files by which DVC knows the inputs, and of inputs that git tracks, by path."""
    paths = [_LOCK, *pointers(graph), *graph.inputs_kept_by_git(stage)]
    return {path: (root / path).read_text(encoding="utf-8") for path in paths if (root / path).is_file()}


def send_inputs(workspace: Workspace, graph: Graph, order: Order, on_line: OnLine = ignore) -> None:
    """Upload the inputs of the order's stage; with upstream, raw data and every result that is up to date.

    Raises:
        StageFailed, Unavailable: the upload failed.
    """
    stages = graph.up_to(order.stage)
    inputs = _raw_inputs(graph, order)
    if inputs:
        workspace.dvc("push", *inputs, on_line=on_line)
    if order.with_upstream:
        finished = workspace.dvc_repo("upload", *(stage.name for stage in stages), on_line=on_line)
        if finished.code != 0:
            raise explain("upload of results", finished)


def fetch(workspace: Workspace, graph: Graph, order: Order) -> Outcome:
    """Restore the result of an order from the caches, and return the stage's outcome.

    Raises:
        NotRestored: no cache has a result for these inputs.
        StageFailed, Unavailable: DVC failed.
    """
    stages = graph.up_to(order.stage) if order.with_upstream else graph.up_to(order.stage)[-1:]
    names = [stage.name for stage in stages]
    outcomes = recall(workspace, names, "--shared")
    if len(outcomes) < len(names):
        raise NotRestored(f"stage {names[len(outcomes)]}: no cache holds its result for the present inputs")
    return outcomes[-1]


def fetch_trial(workspace: Workspace, trial: str) -> None:
    """Download the results that a worker has uploaded for a trial into the local cache.

    Raises:
        StageFailed, Unavailable: the download failed.
    """
    finished = workspace.dvc_repo("download", trial)
    if finished.code != 0:
        raise explain(f"download of trial {trial}", finished)


def work(
    order: Order,
    on_line: OnLine = ignore,
    take_seat: Callable[[], Seat] | None = None,
    warn: Callable[[str], object] = _log.warning,
) -> Outcome:
    """Execute an order on a worker: clone, download, compute and upload; return the outcome.

    Args:
        order: the order.
        on_line: called with each line that DVC and the stage write.
        take_seat: called once the inputs are available, if several nodes compute together.
        warn: called with failures that do not stop the stage.

    Raises:
        InputError: the order does not fit the commit.
        StageFailed: the stage failed.
        Unavailable: the infrastructure failed.
    """
    home = clones.worker_folder()
    orders.check_remote(order.remote_url, load_settings().remote.location())
    with clones.claimed_folder(home / "work", order.key(), order.node) as folder:
        root = folder / "clone"
        clone(orders.permitted_repository(order.repo), order.commit, root)
        known, rest = orders.checked_files(root, order.files)
        configure(root, cache=home / "dvc", remote=(order.remote, order.remote_url), site=folder / "dvc")
        _write_files(root, known)
        write_bytes(root / PARAMS, overridden(root / PARAMS, order.overrides).encode())
        spool = {
            SPOOL: os.environ.get(SPOOL) or str(home / "spool")
        }  # the clone may be removed before a server is available again
        variables = {**environment(root, parent_run=order.parent_run), **spool}
        workspace = Workspace(root, {**variables, **({"DVC_EXP_NAME": order.trial} if order.trial else {})})
        graph = read_graph(root, workspace.environment)
        stages = graph.up_to(order.stage)
        orders.check_kept(rest, (path for stage in stages for path in graph.inputs_kept_by_git(stage)))
        _write_files(root, rest)
        _pull(workspace, _raw_inputs(graph, order), on_line)
        if take_seat is not None:
            workspace = replace(workspace, environment={**workspace.environment, **take_seat().variables()})
        if order.node > 0:
            return follow(workspace, stages[-1], on_line, order.timeout_s)
        with evidence(root, order.parent_run, order.trial, warn) as reached:
            return _compute(workspace, order, stages if order.with_upstream else stages[-1:], reached, on_line)


def _compute(
    workspace: Workspace, order: Order, stages: Sequence[Stage], reached: ReachedStages, on_line: OnLine
) -> Outcome:
    with checkpoints.shared(workspace.root, order.stage, order.remote_url, order.key(), on_line):
        for stage in stages:
            reached.begins(stage.name)
            outcome = repro(workspace, stage.name, "--shared", "--push", on_line=on_line, timeout_s=order.timeout_s)
    if order.trial:
        names = [stage.name for stage in stages]
        finished = workspace.dvc_repo("upload", "--trial", order.trial, *names, on_line=on_line)
        if finished.code != 0:
            raise explain(f"upload of trial {order.trial}", finished)
    return outcome


def _raw_inputs(graph: Graph, order: Order) -> Sequence[str]:
    if order.with_upstream:
        return pointers(graph)
    return graph.cached_inputs(graph.up_to(order.stage)[-1])


def _pull(workspace: Workspace, paths: Sequence[str], on_line: OnLine) -> None:
    if paths:  # without paths, DVC would download everything that it tracks
        workspace.dvc("pull", *paths, on_line=on_line)


def _write_files(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        write_bytes(root / name, text.encode())
