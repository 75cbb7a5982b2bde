"""Execute a plan: run every stage, record its lineage in MLflow and publish its results as artifacts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from umgclip.flows import results, runtime
from umgclip.flows.dvc import handoff
from umgclip.flows.dvc.evidence import ReachedStages
from umgclip.flows.dvc.graph import Stage
from umgclip.flows.dvc.handoff import Order
from umgclip.flows.dvc.process import OnLine
from umgclip.flows.dvc.repro import NotRestored, Outcome, StageState, recall, repro
from umgclip.flows.dvc.workspace import PARAMS, Workspace
from umgclip.flows.plan import RunPlan, prepared
from umgclip.flows.stages import follow, perform
from umgclip.tracking import Run, stage_run

_FILES = ("dvc.lock", "dvc.yaml", PARAMS)


def execute(plan: RunPlan, name: str, tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run all stages of a plan under one MLflow run and return a summary.

    Args:
        plan: the checked plan.
        name: name of the MLflow run.
        tags: additional tags of the MLflow run.

    Raises:
        StageFailed: a stage failed.
        Unavailable, TrackingError: the infrastructure failed more often than the settings allow.
    """
    run_params = {"target": plan.stages[-1].name, "force": plan.force, "overrides": dict(plan.overrides)}
    champion = results.read_champion(plan.source, plan.root / PARAMS)
    with stage_run(name, run_params, root=plan.source, tags={**flow_tags(), **(tags or {})}) as run, prepared(plan):
        reached = ReachedStages()
        try:
            outcomes = _run_stages(plan, run, reached)
        finally:
            run.close_children()
            log_files(plan, run)
            reached.log(plan.root, run.log_artifact)
        runtime.table("umgclip-stages", results.stage_rows(outcomes), "Stages")
        registered = _show_results(plan, run, champion)
    return {
        "mlflow_run": run.run_id,
        "stages": {outcome.stage: str(outcome.state) for outcome in outcomes},
        "version": None if registered is None else registered["version"],
    }


def flow_tags() -> dict[str, str]:
    """Return the MLflow tags that identify the active flow run; empty without one."""
    current = runtime.flow_run()
    return {} if current is None else {"prefect.flow_run_id": current[0], "prefect.flow_run_name": current[1]}


def log_files(plan: RunPlan, run: Run) -> None:
    """Log the files that define the run besides the commit, and the hash of `dvc.lock` as a tag."""
    for path in [*_FILES, *handoff.pointers(plan.graph)]:
        if (plan.root / path).is_file():
            run.log_artifact(plan.root / path, "dvc")
    lock = plan.root / "dvc.lock"
    if lock.is_file():
        run.set_tags({"umgclip.dvc_lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest()})


def _show_results(plan: RunPlan, run: Run, champion: results.Champion | None) -> dict[str, Any] | None:
    names = {stage.name for stage in plan.stages}
    if "evaluate" in names:
        rows = results.metric_rows(plan.root, champion)
        runtime.table("umgclip-metrics", rows, "Metrics against the champion before this run")
    registered = results.registration(plan.root) if "register" in names else None
    runtime.markdown("umgclip-run", results.page(plan.root, run, registered), "Run")
    return registered


@dataclass(frozen=True)
class _Step:
    """One stage of a pipeline run, with everything it needs to execute."""

    plan: RunPlan
    workspace: Workspace
    stage: Stage
    parent_run: str
    on_line: OnLine
    known: Outcome | None

    def here(self) -> Outcome:
        """Bring the stage up to date in the workspace and return its outcome."""
        if self.known is not None:
            return self.known
        settings = self.plan.settings.of_stage(self.stage.name)
        options = [*_sharing(self.plan), *(["--force"] if self.plan.force else [])]
        return repro(self.workspace, self.stage.name, *options, on_line=self.on_line, timeout_s=settings.timeout_s)

    def on(self, pool: str) -> Outcome:
        """Restore the stage from a cache, or compute it on a work pool and restore that result."""
        from umgclip.flows.remote import dispatch

        if self.known is not None:
            return self.known
        order = make_order(self.plan, self.stage, self.parent_run)
        try:
            return handoff.fetch(self.workspace, self.plan.graph, order)
        except NotRestored:
            handoff.send_inputs(self.workspace, self.plan.graph, order, self.on_line)
            dispatch(order, pool, self.plan.settings.remote)
            return replace(handoff.fetch(self.workspace, self.plan.graph, order), where=pool)


def _sharing(plan: RunPlan) -> list[str]:
    """Return the options of `umgclip/flows/dvc/repo.py` that follow from the remote's settings."""
    if plan.settings.remote.location() is None:
        return []
    return ["--shared", *(["--push"] if plan.settings.remote.push else [])]


def make_order(plan: RunPlan, stage: Stage, parent_run: str) -> Order:
    """Return the order that tells a worker how to compute a stage."""
    remote = plan.settings.remote
    return Order(
        repo=handoff.source_of(plan.source, remote),
        commit=plan.commit,
        stage=stage.name,
        overrides=dict(plan.overrides),
        files=handoff.carried_files(plan.root, plan.graph, stage),
        remote=remote.name,
        remote_url=remote.location() or "",
        parent_run=parent_run,
        timeout_s=plan.settings.of_stage(stage.name).timeout_s,
        nodes=plan.settings.of_stage(stage.name).nodes,
    )


def _run_stages(plan: RunPlan, run: Run, reached: ReachedStages) -> list[Outcome]:
    workspace = plan.workspace(run.run_id)
    progress = runtime.ProgressBar(f"Stages up to {plan.stages[-1].name}")
    if plan.settings.remote.location() is not None:
        handoff.share_raw(workspace, plan.graph, push=plan.settings.remote.push)
    known = {name: Outcome(name, StageState.UNCHANGED, 0.0) for name in plan.graph.unchanged if not plan.force}
    asked, outcomes = False, []
    for index, stage in enumerate(plan.stages):
        settings = plan.settings.of_stage(stage.name)
        on_line = follow(stage.name, index, len(plan.stages), progress)
        if not (asked or stage.name in known or stage.always_changed):
            known, asked = known | _recalled(plan, workspace, plan.stages[index:]), True
        step = _Step(plan, workspace, stage, run.run_id, on_line, known.get(stage.name))
        if not settings.pool:
            reached.begins(stage.name)
        outcome = perform(stage.name, partial(step.on, settings.pool) if settings.pool else step.here, settings)
        reached.done(stage.name)
        runtime.log().info("stage %s: %s, %s, %.0f s", stage.name, outcome.state, outcome.where, outcome.seconds)
        run.set_tags({f"umgclip.stage.{stage.name}": f"{outcome.state} {outcome.where}"})
        progress.show((index + 1) / len(plan.stages))
        outcomes.append(outcome)
    run.log_metrics({f"seconds.{outcome.stage}": outcome.seconds for outcome in outcomes})
    return outcomes


def _recalled(plan: RunPlan, workspace: Workspace, stages: Sequence[Stage]) -> dict[str, Outcome]:
    """Return the outcomes of the leading stages that are up to date, or that caches could restore.

    One process does this for all stages, because each process takes a second to start.
    """
    if plan.force:
        return {}
    names = [stage.name for stage in stages]
    outcomes = runtime.retried(lambda: recall(workspace, names, *_sharing(plan)), plan.settings.defaults)
    return {outcome.stage: outcome for outcome in outcomes}
