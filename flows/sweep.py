"""A search over parameters by DVC experiments: all combinations or a sample, ranked by one metric.

`python -m flows.sweep --help` runs it from a checkout. Trials run one after another here; where a stage has a pool,
whole trials go to that pool, several at once, and come back through the run-cache.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import flow
from prefect.client.orchestration import get_client

from flows import engine
from flows.dvc import handoff
from flows.dvc.failures import explain, may_pass
from flows.dvc.overrides import overridden, read_assignments
from flows.dvc.repro import Outcome, StageState, refusing
from flows.dvc.workspace import PARAMS, Workspace, git
from flows.execution import flow_tags, log_files, make_order
from flows.plan import RunPlan, RunRequest, make_plan, opened, prepared
from flows.remote import RemoteRun
from flows.settings import SweepSettings, load_settings
from flows.stages import perform
from flows.trials import Range, assignment, grid, read_space, sample
from umgclip.cli import exits
from umgclip.errors import DataError, InputError, ParamsError, UmgclipError
from umgclip.register.gates import flatten_metrics
from umgclip.tracking import stage_run


@dataclass
class Trial:
    """One choice of values and what it came to."""

    name: str
    values: Mapping[str, Any]
    metric: float | None = None
    error: str = ""
    lost: int = 0


@dataclass(frozen=True)
class _Search:
    """A sweep that has been checked."""

    plan: RunPlan
    workspace: Workspace
    trials: Sequence[Trial]
    parent_run: str

    @property
    def settings(self) -> SweepSettings:
        return self.plan.settings.sweep


@flow(name="sweep", persist_result=False)
def sweep(
    space: dict[str, list[Any] | Range],
    trials: int | None = None,
    seed: int = 0,
    target: str | None = None,
    jobs: int = 2,
) -> dict[str, Any]:
    """Try values of parameters and rank them.

    Args:
        space: dotted key: list of values, or {"low": 1e-4, "high": 1e-2, "log": true}.
        trials: how many to draw at random; none: every combination of the lists.
        seed: of the drawing.
        target: the stage that a trial ends with; none: as the flow settings say.
        jobs: trials at once on a work pool; here they run one after another.
    """
    chosen = grid(space) if trials is None else sample(space, trials, seed)
    with opened("here") as (source, root):
        plan = _plan(source, root, target, chosen)
        settings, name = plan.settings.sweep, f"sweep-{uuid.uuid4().hex[:6]}"
        named = [Trial(f"{name}-{number:03d}", values) for number, values in enumerate(chosen)]
        said = {"target": plan.stages[-1].name, "metric": settings.metric, "trials": len(named), "seed": seed}
        with stage_run("sweep", said, root=source, tags=flow_tags()) as run, prepared(plan):
            search = _Search(plan, plan.workspace(run.run_id), named, run.run_id)
            _on_pool(search, plan.pools[0], jobs) if plan.pools else _here(search)
            log_files(plan, run)
            best = _show(named, settings, name)
            run.log_metrics({f"best.{settings.metric}": best.metric or 0.0})
            run.set_tags({"umgclip.best_trial": best.name})
    return {"best": best.name, "values": dict(best.values), settings.metric: best.metric, "mlflow_run": run.run_id}


def _plan(source: Path, root: Path, target: str | None, chosen: Sequence[Mapping[str, Any]]) -> RunPlan:
    """Check everything before the first trial."""
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise InputError(
            f"{root}: expected a whole clone, as DVC keeps no experiment of a shallow one, got one without all of its "
            f"history; run git fetch --unshallow"
        )
    ends_with = target or load_settings().sweep.target
    plan = make_plan(source, root, RunRequest(ends_with))
    names = [stage.name for stage in plan.stages]
    for stage in plan.stages:
        if stage.has_effects:
            raise InputError(f"target: expected a stage without effects outside its files, but {stage.name} has some")
        if stage.always_changed and plan.pools:
            raise InputError(
                f"stages: expected no pool, as trials come back through the run-cache and {stage.name} runs every time"
            )
    if len(set(plan.pools)) > 1:
        raise InputError(
            f"stages: expected one pool, as whole trials go there, got {', '.join(sorted(set(plan.pools)))}"
        )
    for values in chosen:
        overridden(root / PARAMS, values)
        for key, value in values.items():
            assignment(key, value)
            if key.split(".")[0] not in names:
                raise ParamsError(f"space: {key} is of no stage up to {ends_with}; expected one of {', '.join(names)}")
    return plan


def _here(search: _Search) -> None:
    for trial in search.trials:
        _finish(search, trial, search.workspace)


def _on_pool(search: _Search, pool: str, jobs: int) -> None:
    """Send trials to the pool, `jobs` at once; each comes back as an experiment, restored and not computed."""
    plan, own = search.plan, search.plan.settings.of_stage(search.plan.stages[-1].name)
    order = make_order(plan, plan.stages[-1], search.parent_run).model_copy(update={"with_upstream": True, "nodes": 1})
    handoff.pull_raw(search.workspace, plan.graph)
    handoff.send_inputs(search.workspace, plan.graph, order, partial(engine.log().info, "%s"))
    waiting, active = deque(search.trials), dict[str, tuple[Trial, RemoteRun]]()
    with get_client(sync_client=True) as client, ExitStack() as stack:
        while waiting or active:
            while waiting and len(active) < max(jobs, 1):
                trial = waiting.popleft()
                asked = order.model_copy(update={"overrides": dict(trial.values), "trial": trial.name})
                run = stack.enter_context(RemoteRun(client, asked, pool, plan.settings.remote))
                active[trial.name] = (trial, run)
            for name, (trial, run) in list(active.items()):
                try:
                    if not run.done():
                        continue
                    handoff.fetch_trial(search.workspace, trial.name)
                    _finish(search, trial, refusing(search.workspace))
                except UmgclipError as error:
                    run.end(error)
                    trial.error, trial.lost = str(error), trial.lost + 1
                    if may_pass(error) and trial.lost <= own.retries:
                        waiting.append(trial)
                del active[name]
            time.sleep(plan.settings.remote.poll_s if active else 0)


def _finish(search: _Search, trial: Trial, workspace: Workspace) -> None:
    """Make the trial's experiment and read its metric; a trial that fails is a row in the table."""
    own = search.plan.settings.of_stage(search.plan.stages[-1].name)
    try:
        perform(trial.name, partial(_experiment, search, trial, workspace), own)
        trial.metric = _measure(search, trial)
        trial.error = ""
    except UmgclipError as error:
        trial.error = str(error)
        engine.log().warning("%s", error)


def _experiment(search: _Search, trial: Trial, workspace: Workspace) -> Outcome:
    def on_line(line: str) -> None:
        engine.log().info("%s: %s", trial.name, line)

    started = time.monotonic()
    words = ["exp", "run", "--temp", "--name", trial.name]
    for key, value in trial.values.items():
        words += ["--set-param", assignment(key, value)]
    if search.plan.settings.remote.location() is not None and not search.plan.pools:
        words.append("--pull")
    target = search.plan.stages[-1].name
    finished = workspace.try_dvc(*words, target, on_line=on_line)
    if finished.code != 0:
        raise explain(f"trial {trial.name}", finished)
    return Outcome(trial.name, StageState.RAN, time.monotonic() - started)


def _measure(search: _Search, trial: Trial) -> float:
    """The metric in the experiment's commit."""
    settings, root = search.settings, search.plan.root
    refs = git(root, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    found = [ref for ref in refs if ref.endswith(f"/{trial.name}")]
    if not found:
        raise DataError(f"trial {trial.name}: expected an experiment of that name, found none")
    values = flatten_metrics(json.loads(git(root, "show", f"{found[0]}:{settings.metrics_file}")))
    if settings.metric not in values:
        raise DataError(f"sweep.metric: expected one of {', '.join(sorted(values))}, got {settings.metric!r}")
    return values[settings.metric]


def _show(trials: Sequence[Trial], settings: SweepSettings, name: str) -> Trial:
    """The table, best first; gives the best."""
    sign = -1.0 if settings.direction == "maximize" else 1.0
    ranked = sorted(trials, key=lambda t: (t.metric is None, sign * (t.metric or 0.0)))
    rows = [
        {"trial": trial.name, **trial.values, settings.metric: trial.metric, "error": trial.error.splitlines()[:1]}
        for trial in ranked
    ]
    engine.table("umgclip-sweep", [{**row, "error": "".join(row["error"])} for row in rows], f"Trials of {name}")
    best = ranked[0]
    if best.metric is None:
        raise DataError(f"{name}: expected a trial that ends well, all {len(trials)} failed, e.g. {best.error}")
    text = f"* best: {best.name}, {settings.metric} {best.metric:.4f}\n* take it over: `dvc exp apply {best.name}`"
    engine.markdown("umgclip-sweep-best", text, "Best trial")
    return best


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def _main(
    space: Annotated[
        list[str],
        typer.Option("--set", help="train.lora.rank=[4,8], or train.lr_peak={low: 1.0e-4, high: 1.0e-2, log: true}"),
    ],
    trials: Annotated[int | None, typer.Option(help="draw as many at random; every combination without it")] = None,
    seed: Annotated[int, typer.Option(help="of the drawing")] = 0,
    target: Annotated[str | None, typer.Option(help="the stage that a trial ends with")] = None,
    jobs: Annotated[int, typer.Option(help="trials at once on a work pool")] = 2,
) -> None:
    """Try values of parameters and rank them by the metric of the flow settings."""
    engine.start(sweep, read_space(read_assignments(space)), trials, seed, target, jobs)


if __name__ == "__main__":
    sys.exit(exits.run(app, "flows.sweep"))
