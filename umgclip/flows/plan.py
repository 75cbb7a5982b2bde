"""Plan a pipeline run: check everything before it starts, and undo its temporary changes afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from umgclip.errors import InputError, ParamsError
from umgclip.flows import runtime
from umgclip.flows.dvc import handoff
from umgclip.flows.dvc.failures import explain
from umgclip.flows.dvc.graph import Graph, Stage, read_graph
from umgclip.flows.dvc.overrides import locate, overridden
from umgclip.flows.dvc.status import forecast
from umgclip.flows.dvc.workspace import (
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
from umgclip.flows.settings import FlowSettings, load_settings
from umgclip.tracking import store_from_env

WorkspaceKind = Literal["here", "clone"]


@dataclass(frozen=True)
class RunRequest:
    """The request for a pipeline run, not yet checked.

    Attributes:
        target: the last stage to run; None: all stages.
        force: recompute stages that are up to date.
        overrides: parameter values by dotted key.
        as_is: nothing changes between planning and running, so one look at the stages serves both.
    """

    target: str | None = None
    force: bool = False
    overrides: Mapping[str, Any] | None = None
    as_is: bool = False


@dataclass(frozen=True)
class RunPlan:
    """A pipeline run that has been checked.

    Attributes:
        source: the checkout in which the run was requested.
        root: the folder in which stages run: the checkout, or a clone of it.
        settings: the flow settings.
        graph: DVC's graph.
        stages: the stages in execution order.
        overrides: parameter values by dotted key.
        params: the text of `params.yaml` with the overrides applied.
        force: recompute stages that are up to date.
        commit: the commit that workers clone; empty if no stage has a pool.
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
        """Return the work pool of a stage, or None if it runs in this process."""
        return self.settings.of_stage(stage.name).pool

    @property
    def pools(self) -> list[str]:
        """The work pools that this run needs, in the order of the stages."""
        return [pool for pool in map(self.pool, self.stages) if pool]

    def workspace(self, parent_run: str | None = None) -> Workspace:
        """Return the workspace in which commands run.

        Args:
            parent_run: MLflow run that becomes the parent of the stages' runs.
        """
        return Workspace(self.root, environment(self.root, self.source, parent_run))


@contextmanager
def opened(kind: WorkspaceKind, *purpose: Any) -> Iterator[tuple[Path, Path]]:  # noqa: ANN401 - what JSON can hold
    """Yield the current checkout and the folder in which stages run: the checkout, or a clone of its commit.

    Args:
        kind: run here or in a clone.
        purpose: values that distinguish this clone from others of the same commit, such as the overrides; the next
            attempt reuses the clone of a killed one.

    Raises:
        InputError: the working directory is not in a checkout.
    """
    source = find_root()
    if kind == "here":
        yield source, source
        return
    with kept_clone(source, *purpose) as root:
        runtime.log().info("running in %s, a clone of the commit, without uncommitted changes", root)
        workspace = Workspace(root, environment(root, source))
        done = workspace.try_dvc("checkout", "--allow-missing")
        if done.code != 0:  # a killed attempt left files that no cache holds; stages replace their own
            runtime.log().info(
                "files of an earlier attempt remain until stages replace them: %s", explain("dvc checkout", done)
            )
        yield source, root


def make_plan(source: Path, root: Path, request: RunRequest) -> RunPlan:
    """Check a request and return the plan for it.

    Raises:
        InputError: there is no such stage, or something is missing that a stage with a pool needs.
        ParamsError: settings or overrides are wrong; names the key, the expected and the given value.
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
            raise ParamsError(
                f"overrides: {key} is not a parameter of any stage in this run; expected one of {', '.join(names)}"
            )
    params = overridden(root / PARAMS, overrides)
    plan = RunPlan(source, root, settings, graph, stages, overrides, params, request.force)
    return replace(plan, commit=_check_pools(plan)) if plan.pools else plan


def _check_pools(plan: RunPlan) -> str:
    """Check the conditions for stages on other machines, and return the commit that they use."""
    if plan.settings.remote.location() is None:
        raise InputError(
            "remote.url: expected one, or UMGCLIP_REMOTE_URL, because a stage has a pool; got neither; set one"
        )
    for stage in plan.stages:
        pool = plan.pool(stage)
        if pool and stage.always_changed:
            raise InputError(
                f"stages.{stage.name}.pool: expected null, got {pool}: it runs every time and has effects outside its "
                f"files, so the run-cache cannot return its result; remove the pool"
            )
        if pool and plan.force:
            raise InputError(
                f"force: expected stages that run here, but {stage.name} runs on pool {pool}: the run-cache would "
                f"return an earlier result for the same inputs; remove the pool or do not force"
            )
    if not runtime.running():
        raise InputError("a stage runs on a work pool: expected a Prefect server in PREFECT_API_URL, got none; set it")
    store = store_from_env(plan.source)
    if store.database is not None:
        raise InputError(
            f"MLFLOW_TRACKING_URI: expected a server, because a stage runs on another machine, got {store.name}; set it"
        )
    commit = handoff.check_commit(plan.root, plan.graph)
    handoff.check_pushed(plan.source, commit, plan.settings.remote, runtime.log().warning)
    return commit


@contextmanager
def prepared(plan: RunPlan) -> Iterator[None]:
    """Apply the overrides and configure DVC's remote, if there is one, for the duration of the block."""
    with ExitStack() as stack:
        stack.enter_context(other_params(plan.root, plan.params))
        if plan.overrides and plan.root == plan.source:
            runtime.log().info("%s contains the overrides until the run ends", plan.root / PARAMS)
        url = plan.settings.remote.location()
        if url is not None:
            stack.enter_context(restored(plan.root / LOCAL_CONFIG))
            configure(plan.root, remote=(plan.settings.remote.name, url))
        yield


def preview(plan: RunPlan) -> dict[str, str]:
    """Show as a table what a run would do with each stage, and return it by stage name.

    Raises:
        StageFailed, Unavailable: DVC failed.
    """
    with prepared(plan):
        forecasts = forecast(plan.workspace(), plan.graph, force=plan.force)
    rows = [
        {"stage": stage.name, "would": forecasts[stage.name], "where": plan.pool(stage) or "here"}
        for stage in plan.stages
    ]
    runtime.table("umgclip-preview", rows, "What would run")
    return {stage.name: forecasts[stage.name] for stage in plan.stages}
