"""A run of stages before it starts: everything that can be checked is, and what it changes for a while is put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flows import engine
from flows.dvc import handoff
from flows.dvc.failures import explain
from flows.dvc.graph import Graph, Stage, read_graph
from flows.dvc.overrides import locate, overridden
from flows.dvc.status import forecast
from flows.dvc.workspace import (
    LOCAL_CONFIG,
    PARAMS,
    Workspace,
    configure,
    environment,
    find_root,
    kept_clone,
    other_params,
    restored,
)
from flows.settings import FlowSettings, load_settings
from umgclip.errors import InputError, ParamsError
from umgclip.tracking import store_from_env

WorkspaceKind = Literal["here", "clone"]


@dataclass(frozen=True)
class RunRequest:
    """What is asked for.

    Attributes:
        target: the last stage; None: all of them.
        force: compute also what is up to date.
        overrides: dotted key: value.
        as_is: nothing is changed between the plan and its run, so one look tells what is up to date for both.
    """

    target: str | None = None
    force: bool = False
    overrides: Mapping[str, Any] | None = None
    as_is: bool = False


@dataclass(frozen=True)
class RunPlan:
    """A run that has been checked.

    Attributes:
        source: the checkout that the run was asked for in.
        root: where stages run: the same, or a clone of it.
        settings: how.
        graph: of DVC.
        stages: in running order.
        overrides: dotted key: value.
        params: the text of `params.yaml` with them.
        force: compute also what is up to date.
        commit: what workers clone; empty where no stage has a pool.
    """

    source: Path
    root: Path
    settings: FlowSettings
    graph: Graph
    stages: tuple[Stage, ...]
    overrides: Mapping[str, Any]
    params: str
    force: bool
    commit: str = ""

    def pool(self, stage: Stage) -> str | None:
        """The work pool of a stage; None: here."""
        return self.settings.of_stage(stage.name).pool

    @property
    def pools(self) -> list[str]:
        """The work pools that this run needs, in the order of the stages."""
        return [pool for pool in map(self.pool, self.stages) if pool]

    def workspace(self, parent_run: str | None = None) -> Workspace:
        """Where commands run."""
        return Workspace(self.root, environment(self.root, self.source, parent_run))


@contextmanager
def opened(place: WorkspaceKind, *purpose: Any) -> Iterator[tuple[Path, Path]]:  # noqa: ANN401 - what JSON can hold
    """The checkout that we are in, and where stages run: there, or in a clone of its commit.

    Args:
        place: which of the two.
        purpose: what tells the clone from others of the same commit, such as the overrides; an attempt that was killed
            left it for the next one.

    Raises:
        InputError: we are in no checkout.
    """
    source = find_root()
    if place == "here":
        yield source, source
        return
    with kept_clone(source, *purpose) as root:
        engine.log().info("running in %s, a clone of the commit; changes that are not committed are not in it", root)
        workspace = Workspace(root, environment(root, source))
        done = workspace.try_dvc("checkout", "--allow-missing")
        if done.code != 0:  # a killed attempt has left files that are in no cache; they stay, stages replace theirs
            engine.log().info(
                "an earlier attempt left files that stay until stages replace them: %s", explain("dvc checkout", done)
            )
        yield source, root


def make_plan(source: Path, root: Path, request: RunRequest) -> RunPlan:
    """Check a request.

    Raises:
        InputError: no such stage, or a stage goes to a pool and something that it needs for that is missing.
        ParamsError: settings or overrides are wrong; names key, expected and got.
    """
    settings = load_settings()
    shared = settings.remote.location() is not None
    look = request.as_is and not (request.overrides or request.force or shared)
    graph = read_graph(root, environment(root, source), look=look)
    settings.check_stages(stage.name for stage in graph.stages)
    stages = graph.up_to(request.target)
    names = [stage.name for stage in stages]
    overrides = request.overrides or {}
    for key in overrides:
        if locate(key)[0] not in names:
            raise ParamsError(f"overrides: {key} is of no stage of this run; expected one of {', '.join(names)}")
    params = overridden(root / PARAMS, overrides)
    plan = RunPlan(source, root, settings, graph, stages, overrides, params, request.force)
    return replace(plan, commit=_check_pools(plan)) if plan.pools else plan


def _check_pools(plan: RunPlan) -> str:
    """Check what stages on other machines need; gives the commit that they get."""
    if plan.settings.remote.location() is None:
        raise InputError("remote.url: expected one, or UMGCLIP_REMOTE_URL, as a stage has a pool; got neither")
    for stage in plan.stages:
        pool = plan.pool(stage)
        if pool and stage.always_changed:
            raise InputError(
                f"stages.{stage.name}.pool: expected null, got {pool}: it runs every time and has effects outside its "
                f"files, so its result cannot come back through the run-cache"
            )
        if pool and plan.force:
            raise InputError(
                f"force: expected stages that run here, but {stage.name} goes to pool {pool}: its result comes back "
                f"through the run-cache, which answers with an earlier result of the same inputs"
            )
    if not engine.running():
        raise InputError("a stage goes to a work pool: expected a Prefect server in PREFECT_API_URL, got none")
    store = store_from_env(plan.source)
    if store.database is not None:
        raise InputError(
            f"MLFLOW_TRACKING_URI: expected a server, as a stage goes to another machine, got {store.name}"
        )
    commit = handoff.check_commit(plan.root, plan.graph)
    handoff.check_pushed(plan.source, commit, plan.settings.remote, engine.log().warning)
    return commit


@contextmanager
def prepared(plan: RunPlan) -> Iterator[None]:
    """The overrides, and DVC's remote if one is set, for the time of the run."""
    with ExitStack() as stack:
        stack.enter_context(other_params(plan.root, plan.params))
        if plan.overrides and plan.root == plan.source:
            engine.log().info("%s holds the overrides until the run ends", plan.root / PARAMS)
        url = plan.settings.remote.location()
        if url is not None:
            stack.enter_context(restored(plan.root / LOCAL_CONFIG))
            configure(plan.root, remote=(plan.settings.remote.name, url))
        yield


def preview(plan: RunPlan) -> dict[str, str]:
    """What would become of each stage; shown as a table.

    Raises:
        StageFailed, Unavailable: DVC failed.
    """
    with prepared(plan):
        found = forecast(plan.workspace(), plan.graph, force=plan.force)
    rows = [
        {"stage": stage.name, "would": found[stage.name], "where": plan.pool(stage) or "here"} for stage in plan.stages
    ]
    engine.table("umgclip-preview", rows, "What would run")
    return {stage.name: found[stage.name] for stage in plan.stages}
