"""New raw data from an S3 prefix, through the whole pipeline, to a challenger. The champion stays.

`python -m flows.refresh s3://bucket/prefix` runs it from a checkout. On a schedule a delivery is worked on once: a run
of MLflow that ended well with the same data and commit is found by its tags.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import flow

from flows import engine
from flows.dvc import handoff
from flows.dvc.workspace import git
from flows.execution import execute
from flows.plan import RunPlan, RunRequest, WorkspaceKind, make_plan, opened, prepared
from flows.settings import RAW_PREFIX, RefreshSettings, StageSettings, load_settings
from umgclip.cli import exits
from umgclip.errors import InputError
from umgclip.io.storage import Location, Storage, locate
from umgclip.sources.delivery import DeliveryResult, import_delivery, read_delivery
from umgclip.tracking import finished_run, store_from_env

_DIGEST, _COMMIT = "umgclip.raw_digest", "umgclip.refreshed_commit"
_OVERRIDES = {"register.promote": False}


@flow(name="refresh", persist_result=False)
def refresh(prefix: str | None = None, force: bool = False, workspace: WorkspaceKind = "clone") -> dict[str, Any]:
    """Import raw data, annotate, validate, train, evaluate, register as challenger.

    Args:
        prefix: s3://bucket/prefix with manifest.json and its shards; none: as the flow settings say.
        force: also when the same data went through the same commit before.
        workspace: a clone of the commit, or here.
    """
    settings = load_settings()
    source_url = _prefix(prefix, settings.refresh)
    storage = Storage()
    digest = engine.retried(lambda: read_delivery(storage, source_url).digest(), settings.defaults)
    with opened(workspace, "refresh", str(source_url)) as (source, root):
        tags = {_DIGEST: digest, _COMMIT: git(root, "rev-parse", "HEAD")}
        before = None if force else finished_run(store_from_env(source), tags)
        if before is not None:
            engine.log().info("nothing new under %s: MLflow run %s took the same data and commit", source_url, before)
            return {"imported": False, "mlflow_run": before}
        plan = make_plan(source, root, RunRequest(overrides=_OVERRIDES))
        with prepared(plan):
            _bring(plan, storage, source_url, settings.defaults)
        return {"imported": True, **execute(plan, "refresh", tags)}


def _prefix(given: str | None, settings: RefreshSettings) -> Location:
    url = given or settings.prefix or os.environ.get(RAW_PREFIX, "").strip()
    if not url:
        raise InputError(f"prefix: expected s3://bucket/prefix there, in refresh.prefix or in {RAW_PREFIX}, got none")
    return locate(url)


def _bring(plan: RunPlan, storage: Storage, prefix: Location, settings: StageSettings) -> DeliveryResult:
    """Import the delivery into the workspace and tell DVC."""
    into = plan.root / plan.settings.refresh.into
    pointer, tracked = _pointer(plan, into)
    workspace = plan.workspace()
    if plan.settings.remote.location() is not None:
        handoff.pull_raw(workspace, plan.graph)
    if not (plan.root / tracked).exists():  # it may hold more than what is imported, such as the benchmark
        raise InputError(f"{plan.root / tracked}: expected it here or in DVC's remote (UMGCLIP_REMOTE_URL)")
    done = engine.retried(lambda: import_delivery(storage, prefix, into), settings)
    engine.log().info(
        "%s: %d shards downloaded, %d were here, digest %s", into, done.downloaded, done.reused, done.digest
    )
    workspace.dvc("add", pointer.removesuffix(".dvc"))
    if plan.settings.remote.location() is not None and plan.settings.remote.push:
        workspace.dvc("push", pointer)
    return done


def _pointer(plan: RunPlan, into: Path) -> tuple[str, str]:
    """The `.dvc` file that the dataset belongs to, and what it tracks."""
    for node in plan.graph.nodes:
        for out in node.outs:
            if not node.command and into.is_relative_to(plan.root / out):
                return node.name, out
    raise InputError(f"refresh.into: expected a folder that `dvc add` tracks, got {into.relative_to(plan.root)}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def _main(
    prefix: Annotated[str | None, typer.Argument(help="s3://bucket/prefix with manifest.json")] = None,
    force: Annotated[bool, typer.Option("--force", help="also when the same data went through before")] = False,
    here: Annotated[bool, typer.Option("--here", help="in this checkout, not in a clone")] = False,
) -> None:
    """Take new raw data through the whole pipeline, up to a challenger."""
    engine.start(refresh, prefix, force, "here" if here else "clone")


if __name__ == "__main__":
    sys.exit(exits.run(app, "flows.refresh"))
