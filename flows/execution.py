"""A plan carried out: every stage, its lineage in MLflow, what it found as artifacts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flows import engine, results
from flows.dvc import handoff
from flows.dvc.evidence import ReachedStages
from flows.dvc.graph import Stage
from flows.dvc.handoff import Order
from flows.dvc.process import OnLine
from flows.dvc.repro import NotRestored, Outcome, StageState, recall, repro
from flows.dvc.workspace import PARAMS, Workspace
from flows.plan import RunPlan, prepared
from flows.stages import follow, perform
from umgclip.tracking import Run, stage_run

_FILES = ("dvc.lock", "dvc.yaml", PARAMS)


def execute(plan: RunPlan, name: str, tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run all stages of a plan under one run of MLflow.

    Args:
        plan: what.
        name: of the run.
        tags: more of its tags.

    Raises:
        StageFailed: a stage says no.
        Unavailable, TrackingError: something around it failed, more often than the settings allow.
    """
    said = {"target": plan.stages[-1].name, "force": plan.force, "overrides": dict(plan.overrides)}
    champion = results.read_champion(plan.source, plan.root / PARAMS)
    with stage_run(name, said, root=plan.source, tags={**flow_tags(), **(tags or {})}) as run, prepared(plan):
        reached = ReachedStages()
        try:
            outcomes = _run_stages(plan, run, reached)
        finally:
            run.close_children()
            log_files(plan, run)
            reached.log(plan.root, run.log_artifact)
        engine.table("umgclip-stages", results.stage_rows(outcomes), "Stages")
        registered = _show_results(plan, run, champion)
    return {
        "mlflow_run": run.run_id,
        "stages": {outcome.stage: str(outcome.state) for outcome in outcomes},
        "version": None if registered is None else registered["version"],
    }


def flow_tags() -> dict[str, str]:
    """Tags that lead from MLflow to the flow run."""
    current = engine.flow_run()
    return {} if current is None else {"prefect.flow_run_id": current[0], "prefect.flow_run_name": current[1]}


def log_files(plan: RunPlan, run: Run) -> None:
    """What was run, exactly: the files beside the commit, and one hash over all results."""
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
        engine.table("umgclip-metrics", rows, "Metrics against the champion before this run")
    registered = results.registration(plan.root) if "register" in names else None
    engine.markdown("umgclip-run", results.page(plan.root, run, registered), "Run")
    return registered


@dataclass(frozen=True)
class _Step:
    """One stage of a run."""

    plan: RunPlan
    workspace: Workspace
    stage: Stage
    parent_run: str
    on_line: OnLine
    known: Outcome | None

    def here(self) -> Outcome:
        """Bring it up to date in the workspace."""
        if self.known is not None:
            return self.known
        own = self.plan.settings.of_stage(self.stage.name)
        options = [*_sharing(self.plan), *(["--force"] if self.plan.force else [])]
        return repro(self.workspace, self.stage.name, *options, on_line=self.on_line, timeout_s=own.timeout_s)

    def on(self, pool: str) -> Outcome:
        """Look in the caches, else send it to the pool and restore what comes back."""
        from flows.remote import dispatch

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
    """Options of `dvc/repo.py` by the settings of the remote."""
    if plan.settings.remote.location() is None:
        return []
    return ["--shared", *(["--push"] if plan.settings.remote.push else [])]


def make_order(plan: RunPlan, stage: Stage, parent_run: str) -> Order:
    """What a worker gets to know of a stage."""
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
    progress = engine.ProgressBar(f"Stages up to {plan.stages[-1].name}")
    if plan.settings.remote.location() is not None:
        handoff.share_raw(workspace, plan.graph, push=plan.settings.remote.push)
    known = {name: Outcome(name, StageState.UNCHANGED, 0.0) for name in plan.graph.unchanged if not plan.force}
    asked, outcomes = False, []
    for place, stage in enumerate(plan.stages):
        own = plan.settings.of_stage(stage.name)
        on_line = follow(stage.name, place, len(plan.stages), progress)
        if not (asked or stage.name in known or stage.always_changed):
            known, asked = known | _recalled(plan, workspace, plan.stages[place:]), True
        step = _Step(plan, workspace, stage, run.run_id, on_line, known.get(stage.name))
        if not own.pool:
            reached.begins(stage.name)
        outcome = perform(stage.name, partial(step.on, own.pool) if own.pool else step.here, own)
        reached.done(stage.name)
        engine.log().info("stage %s: %s, %s, %.0f s", stage.name, outcome.state, outcome.where, outcome.seconds)
        run.set_tags({f"umgclip.stage.{stage.name}": f"{outcome.state} {outcome.where}"})
        progress.show((place + 1) / len(plan.stages))
        outcomes.append(outcome)
    run.log_metrics({f"seconds.{outcome.stage}": outcome.seconds for outcome in outcomes})
    return outcomes


def _recalled(plan: RunPlan, workspace: Workspace, stages: Sequence[Stage]) -> dict[str, Outcome]:
    """The first of these that are up to date, or are now, from caches: in one process, as each costs a second."""
    if plan.force:
        return {}
    names = [stage.name for stage in stages]
    outcomes = engine.retried(lambda: recall(workspace, names, *_sharing(plan)), plan.settings.defaults)
    return {outcome.stage: outcome for outcome in outcomes}
