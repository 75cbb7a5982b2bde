"""Search over parameters with DVC experiments: all combinations or a random sample, ranked by one metric.

Run it from a checkout with `python -m flows.sweep`. Local trials run one after another. If a stage has a pool, whole
trials run on that pool, several at once, and the run-cache returns their results.
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

from umgclip import extras

with extras.needed_by("umgclip.flows"):
    from prefect import flow
    from prefect.client.orchestration import get_client

from umgclip.cli import exits
from umgclip.errors import DataError, InputError, ParamsError, UmgclipError
from umgclip.flows import runtime
from umgclip.flows.dvc import handoff
from umgclip.flows.dvc.failures import explain, is_temporary
from umgclip.flows.dvc.overrides import overridden, read_assignments
from umgclip.flows.dvc.repro import Outcome, StageState, refusing
from umgclip.flows.dvc.workspace import PARAMS, Workspace, git
from umgclip.flows.execution import flow_tags, log_files, make_order
from umgclip.flows.plan import RunPlan, RunRequest, make_plan, opened, prepared
from umgclip.flows.remote import RemoteRun
from umgclip.flows.settings import SweepSettings, load_settings
from umgclip.flows.stages import perform
from umgclip.flows.trials import Range, assignment, grid, read_space, sample
from umgclip.register.gates import flatten_metrics
from umgclip.tracking import stage_run


@dataclass
class Trial:
    """One combination of parameter values, with its metric or error."""

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
    """Run a trial for each combination of parameter values, rank the trials, and return the best.

    Args:
        space: dotted key: list of values, or {"low": 1e-4, "high": 1e-2, "log": true}.
        trials: number of random trials; none: every combination of the lists.
        seed: seed of the random sample.
        target: the last stage of a trial; none: as in the flow settings.
        jobs: concurrent trials on a work pool; local trials run one after another.
    """
    chosen = grid(space) if trials is None else sample(space, trials, seed)
    with opened("here") as (source, root):
        plan = _plan(source, root, target, chosen)
        settings, name = plan.settings.sweep, f"sweep-{uuid.uuid4().hex[:6]}"
        named = [Trial(f"{name}-{number:03d}", values) for number, values in enumerate(chosen)]
        run_params = {"target": plan.stages[-1].name, "metric": settings.metric, "trials": len(named), "seed": seed}
        with stage_run("sweep", run_params, root=source, tags=flow_tags()) as run, prepared(plan):
            search = _Search(plan, plan.workspace(run.run_id), named, run.run_id)
            _on_pool(search, plan.pools[0], jobs) if plan.pools else _here(search)
            log_files(plan, run)
            best = _show(named, settings, name)
            run.log_metrics({f"best.{settings.metric}": best.metric or 0.0})
            run.set_tags({"umgclip.best_trial": best.name})
    return {"best": best.name, "values": dict(best.values), settings.metric: best.metric, "mlflow_run": run.run_id}


def _plan(source: Path, root: Path, target: str | None, chosen: Sequence[Mapping[str, Any]]) -> RunPlan:
    """Check the search space and the stages, and return the plan of a trial."""
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise InputError(
            f"{root}: expected a complete clone, because DVC stores no experiments in a shallow one, got a shallow "
            f"one; run git fetch --unshallow"
        )
    ends_with = target or load_settings().sweep.target
    plan = make_plan(source, root, RunRequest(ends_with))
    names = [stage.name for stage in plan.stages]
    for stage in plan.stages:
        if stage.has_effects:
            raise InputError(f"target: expected stages without effects outside their files, but {stage.name} has some")
        if stage.always_changed and plan.pools:
            raise InputError(
                f"stages: expected no pool, because the run-cache returns trials and {stage.name} runs every time"
            )
    if len(set(plan.pools)) > 1:
        raise InputError(
            f"stages: expected one pool, because whole trials run there, got {', '.join(sorted(set(plan.pools)))}"
        )
    for values in chosen:
        overridden(root / PARAMS, values)
        for key, value in values.items():
            assignment(key, value)
            if key.split(".")[0] not in names:
                raise ParamsError(
                    f"space: {key} is not a parameter of any stage up to {ends_with}; "
                    f"expected one of {', '.join(names)}"
                )
    return plan


def _here(search: _Search) -> None:
    for trial in search.trials:
        _finish(search, trial, search.workspace)


def _on_pool(search: _Search, pool: str, jobs: int) -> None:
    """Run trials on the pool, `jobs` at once, and restore each result as an experiment without computing it here."""
    plan, stage_settings = search.plan, search.plan.settings.of_stage(search.plan.stages[-1].name)
    order = make_order(plan, plan.stages[-1], search.parent_run).model_copy(update={"with_upstream": True, "nodes": 1})
    handoff.pull_raw(search.workspace, plan.graph)
    handoff.send_inputs(search.workspace, plan.graph, order, partial(runtime.log().info, "%s"))
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
                    if is_temporary(error) and trial.lost <= stage_settings.retries:
                        waiting.append(trial)
                del active[name]
            time.sleep(plan.settings.remote.poll_s if active else 0)


def _finish(search: _Search, trial: Trial, workspace: Workspace) -> None:
    """Create the trial's experiment and read its metric; a failed trial becomes a row in the table."""
    stage_settings = search.plan.settings.of_stage(search.plan.stages[-1].name)
    try:
        perform(trial.name, partial(_experiment, search, trial, workspace), stage_settings)
        trial.metric = _measure(search, trial)
        trial.error = ""
    except UmgclipError as error:
        trial.error = str(error)
        runtime.log().warning("%s", error)


def _experiment(search: _Search, trial: Trial, workspace: Workspace) -> Outcome:
    def on_line(line: str) -> None:
        runtime.log().info("%s: %s", trial.name, line)

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
    """Return the metric stored in the commit of the trial's experiment."""
    settings, root = search.settings, search.plan.root
    refs = git(root, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    matching = [ref for ref in refs if ref.endswith(f"/{trial.name}")]
    if not matching:
        raise DataError(f"trial {trial.name}: expected an experiment of that name, found none; run the sweep again")
    values = flatten_metrics(json.loads(git(root, "show", f"{matching[0]}:{settings.metrics_file}")))
    if settings.metric not in values:
        raise DataError(f"sweep.metric: expected one of {', '.join(sorted(values))}, got {settings.metric!r}")
    return values[settings.metric]


def _show(trials: Sequence[Trial], settings: SweepSettings, name: str) -> Trial:
    """Show the table of trials, best first, and return the best trial."""
    sign = -1.0 if settings.direction == "maximize" else 1.0
    ranked = sorted(trials, key=lambda t: (t.metric is None, sign * (t.metric or 0.0)))
    rows = [
        {"trial": trial.name, **trial.values, settings.metric: trial.metric, "error": trial.error.splitlines()[:1]}
        for trial in ranked
    ]
    runtime.table("umgclip-sweep", [{**row, "error": "".join(row["error"])} for row in rows], f"Trials of {name}")
    best = ranked[0]
    if best.metric is None:
        raise DataError(f"{name}: expected a successful trial, but all {len(trials)} failed, e.g. {best.error}")
    text = f"* best: {best.name}, {settings.metric} {best.metric:.4f}\n* apply it: `dvc exp apply {best.name}`"
    runtime.markdown("umgclip-sweep-best", text, "Best trial")
    return best


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def _main(
    space: Annotated[
        list[str],
        typer.Option("--set", help="train.lora.rank=[4,8], or train.lr_peak={low: 1.0e-4, high: 1.0e-2, log: true}"),
    ],
    trials: Annotated[int | None, typer.Option(help="number of random trials; default: every combination")] = None,
    seed: Annotated[int, typer.Option(help="seed of the random sample")] = 0,
    target: Annotated[str | None, typer.Option(help="the last stage of a trial")] = None,
    jobs: Annotated[int, typer.Option(help="concurrent trials on a work pool")] = 2,
) -> None:
    """Run trials with different parameter values, and rank them by the metric in the flow settings."""
    runtime.start(sweep, read_space(read_assignments(space)), trials, seed, target, jobs)


def main() -> int:
    """Run the command line of this module and return its exit code."""
    return exits.run(app, "flows.sweep")


if __name__ == "__main__":
    sys.exit(main())
