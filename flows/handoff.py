"""A stage that another machine computes: what the orchestrator sends, what the worker does, how the result comes back.

Files travel through DVC's remote, values through the order. Only the orchestrator writes `dvc.lock`, and nobody git.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from flows import checkpoints, orders
from flows.failures import StageFailed, Unavailable, explain
from flows.graph import Graph, Stage, read_graph
from flows.nodes import follow
from flows.overrides import overridden
from flows.process import OnLine, ignore
from flows.repro import Outcome, repro, restore
from flows.settings import RemoteSettings, load_settings
from flows.workspace import PARAMS, Workspace, clone, configure, environment, git
from umgclip.errors import InputError
from umgclip.io.atomic import write_bytes
from umgclip.train.nodes import Seat

WORKER_FOLDER = "UMGCLIP_WORKER_DIR"
_LOCK = "dvc.lock"
_STALE_S = 7 * 86_400
_SAME_ORDERS = 16
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"


class Order(BaseModel):
    """What a worker needs to know. Small texts only: files go through the remote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str = Field(min_length=1, max_length=2000, description="git URL or path that the commit is cloned from")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$", description="full hash")
    stage: str
    with_upstream: bool = Field(default=False, description="bring everything that the stage needs up to date as well")
    overrides: dict[str, Any] = Field(default={}, description="dotted key: value")
    files: dict[str, str] = Field(default={}, description="dvc.lock and the like, as the orchestrator has them")
    remote: str = Field(default="handoff", pattern=r"^[A-Za-z0-9_-]+$", description="name of DVC's remote")
    remote_url: str = Field(max_length=2000, pattern=r"^[^\x00-\x1f\x7f]+$")
    parent_run: str | None = Field(
        default=None, pattern=_NAME, description="MLflow run that the stage's run goes under"
    )
    trial: str | None = Field(default=None, pattern=_NAME, description="name of the experiment that it belongs to")
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    nodes: int = Field(default=1, ge=1, description="that compute it together, each by an order of its own")
    node: int = Field(default=0, ge=0, description="which of them; the first gives the result")
    first: UUID | None = Field(default=None, description="flow run of the first node, for the others")

    def key(self) -> str:
        """Names what is computed, whoever asks for it and whichever node it is."""
        others = {"parent_run", "timeout_s", "nodes", "node", "first"}
        return hashlib.sha256(self.model_dump_json(exclude=others).encode()).hexdigest()[:16]


def pointers(graph: Graph) -> list[str]:
    """The `.dvc` files: raw data."""
    return [node.name for node in graph.nodes if not node.command]


def pull_raw(workspace: Workspace, graph: Graph) -> None:
    """Download raw data that is not here, and the run-cache.

    Raises:
        StageFailed, Unavailable: it failed.
    """
    _download(workspace, "pull", pointers(graph), ignore)


def share_raw(workspace: Workspace, graph: Graph, *, push: bool) -> None:
    """The same, and upload raw data that is only here.

    Raises:
        StageFailed, Unavailable: it failed.
    """
    pull_raw(workspace, graph)
    if push and pointers(graph):
        workspace.dvc("push", *pointers(graph))


def push_result(workspace: Workspace, stage: Stage, on_line: OnLine = ignore) -> None:
    """Upload what a stage has made, with the run-cache's entry that finds it again.

    Raises:
        StageFailed, Unavailable: it failed.
    """
    if stage.outs:
        workspace.dvc("push", "--run-cache", stage.name, on_line=on_line)
    _push_kept_by_git(workspace, [stage], on_line)


def check_commit(root: Path, graph: Graph) -> str:
    """The commit that workers can clone and that is what lies here.

    Raises:
        InputError: code or params differ from the commit, which is all that a worker gets.
    """
    carried = [_LOCK, *pointers(graph), *(path for stage in graph.stages for path in stage.kept_by_git)]
    excluded = [f":(top,exclude){path}" for path in carried]
    changed = git(root, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *excluded).splitlines()
    if changed:
        listed = ", ".join(line.split(maxsplit=1)[-1] for line in changed[:5])
        raise InputError(
            f"{root}: a stage goes to another machine, which sees the commit only: expected no changes beside it, got "
            f"{len(changed)} changed files ({listed}); commit them, and pass params as overrides"
        )
    return git(root, "rev-parse", "HEAD")


def source_of(root: Path, settings: RemoteSettings) -> str:
    """Where workers clone from: the setting, git's origin, or the checkout itself; a login stays here."""
    if settings.repo:
        return settings.repo
    try:
        return orders.without_login(git(root, "remote", "get-url", "origin"))
    except InputError:
        return str(root)


def carried_files(root: Path, graph: Graph, stage: Stage) -> dict[str, str]:
    """The texts by which DVC knows the inputs, and inputs that git keeps."""
    paths = [_LOCK, *pointers(graph), *graph.inputs_kept_by_git(stage)]
    return {path: (root / path).read_text(encoding="utf-8") for path in paths if (root / path).is_file()}


def send_inputs(workspace: Workspace, graph: Graph, order: Order, on_line: OnLine = ignore) -> None:
    """Upload what the stage reads; with upstream, every output and the run-cache.

    Raises:
        StageFailed, Unavailable: it failed.
    """
    stages = graph.up_to(order.stage)
    if not order.with_upstream:
        inputs = graph.cached_inputs(stages[-1])
        if inputs:
            workspace.dvc("push", *inputs, on_line=on_line)
        return
    workspace.dvc("push", "--run-cache", on_line=on_line)
    _push_kept_by_git(workspace, stages, on_line)


def fetch(workspace: Workspace, graph: Graph, order: Order, on_line: OnLine = ignore) -> Outcome:
    """Restore a result that a worker has pushed.

    Raises:
        NotRestored: the remote does not have it for these inputs.
        StageFailed, Unavailable: DVC failed.
    """
    _download(workspace, "fetch", _raw_inputs(graph, order), on_line)
    options = ["--pull"] if order.with_upstream else ["--pull", "--single-item"]
    return restore(workspace, order.stage, *options)


def work(order: Order, on_line: OnLine = ignore, take_seat: Callable[[], Seat] | None = None) -> Outcome:
    """The worker's part: clone, download, compute, upload.

    Args:
        order: what.
        on_line: gets what DVC and the stage write.
        take_seat: called once the inputs are there, where several nodes compute together.

    Raises:
        InputError: the order does not fit the commit.
        StageFailed: the stage says no.
        Unavailable: something around it failed.
    """
    home = worker_folder()
    orders.check_remote(order.remote_url, load_settings().remote.location())
    with _place(home, order) as root:
        clone(orders.permitted_repository(order.repo), order.commit, root)
        known, rest = orders.checked_files(root, order.files)
        configure(root, cache=home / "dvc", remote=(order.remote, order.remote_url))
        _write_files(root, known)
        write_bytes(root / PARAMS, overridden(root / PARAMS, order.overrides).encode())
        variables = environment(root, parent_run=order.parent_run)
        workspace = Workspace(root, {**variables, **({"DVC_EXP_NAME": order.trial} if order.trial else {})})
        graph = read_graph(root, workspace.environment)
        stages = graph.up_to(order.stage)
        orders.check_kept(rest, (path for stage in stages for path in graph.inputs_kept_by_git(stage)))
        _write_files(root, rest)
        _download(workspace, "pull", _raw_inputs(graph, order), on_line)
        if take_seat is not None:
            workspace = replace(workspace, environment={**workspace.environment, **take_seat().variables()})
        if order.node > 0:
            return follow(workspace, stages[-1], on_line, order.timeout_s)
        options = ["--pull"] if order.with_upstream else ["--pull", "--single-item"]
        with checkpoints.shared(root, stages[-1].name, order.remote_url, order.key(), on_line):
            outcome = repro(workspace, order.stage, *options, on_line=on_line, timeout_s=order.timeout_s)
        for stage in stages if order.with_upstream else stages[-1:]:
            push_result(workspace, stage, on_line)
        return outcome


def worker_folder() -> Path:
    """Where a worker keeps DVC's cache and its clones: `UMGCLIP_WORKER_DIR`, or the user's cache folder."""
    chosen = os.environ.get(WORKER_FOLDER, "").strip()
    return Path(chosen).expanduser().resolve() if chosen else Path.home() / ".cache" / "umgclip"


def _raw_inputs(graph: Graph, order: Order) -> Sequence[str]:
    if order.with_upstream:
        return pointers(graph)
    return graph.cached_inputs(graph.up_to(order.stage)[-1])


def _download(workspace: Workspace, how: str, paths: Sequence[str], on_line: OnLine) -> None:
    if paths:  # without any, DVC would download everything that it knows of
        workspace.dvc(how, "--run-cache", *paths, on_line=on_line)


def _push_kept_by_git(workspace: Workspace, stages: Sequence[Stage], on_line: OnLine) -> None:
    names = [stage.name for stage in stages if stage.kept_by_git and not stage.always_changed]
    if names:
        finished = workspace.python("flows.dvc_repo", "push", *names, on_line=on_line)
        if finished.code != 0:
            raise explain(f"upload of what git keeps of {', '.join(names)}", finished)


def _write_files(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        write_bytes(root / name, text.encode())


@contextmanager
def _place(home: Path, order: Order) -> Iterator[Path]:
    """The folder of an order's clone. A killed attempt leaves it, and the next one goes on from its checkpoints."""
    key = order.key() if order.node == 0 else f"{order.key()}-node{order.node}"
    places = home / "work"
    for old in places.glob("*/"):
        if time.time() - old.stat().st_mtime > _STALE_S:
            with _claimed(old) as ours:
                if ours:
                    shutil.rmtree(old, ignore_errors=True)
    for number in range(_SAME_ORDERS):
        folder = places / f"{key}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        with _claimed(folder) as ours:
            if not ours:  # another order of the same content is at work there
                continue
            try:
                yield folder / "clone"
            except (StageFailed, InputError):
                shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)
            return
    raise Unavailable(f"{places}: expected a free place for the order {key}, all {_SAME_ORDERS} are in use")


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether the folder is ours for the time being; a dead process owns nothing."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
