"""Import new raw data from an S3 prefix and run the whole pipeline up to a challenger; the champion does not change.

Run it from a checkout with `python -m flows.refresh s3://bucket/prefix`. A schedule processes each delivery once: the
flow finds an MLflow run that succeeded with the same data and commit by its tags.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from umgclip import extras

with extras.needed_by("umgclip.flows"):
    from prefect import flow

from umgclip.cli import exits
from umgclip.errors import InputError
from umgclip.flows import runtime
from umgclip.flows.dvc import handoff
from umgclip.flows.dvc.workspace import git
from umgclip.flows.execution import execute
from umgclip.flows.plan import RunPlan, RunRequest, WorkspaceKind, make_plan, opened, prepared
from umgclip.flows.settings import RAW_PREFIX, RefreshSettings, StageSettings, load_settings
from umgclip.io.storage import Location, Storage, locate
from umgclip.sources.delivery import DeliveryResult, import_delivery, read_delivery
from umgclip.tracking import finished_run, store_from_env

_DIGEST, _COMMIT = "umgclip.raw_digest", "umgclip.refreshed_commit"
_OVERRIDES = {"register.promote": False}


@flow(name="refresh", persist_result=False)
def refresh(prefix: str | None = None, force: bool = False, workspace: WorkspaceKind = "clone") -> dict[str, Any]:
    """Import raw data, run the pipeline and register the model as challenger; return a summary.

    Args:
        prefix: s3://bucket/prefix with manifest.json and its shards; none: as in the flow settings.
        force: run even if the same commit has already processed the same data.
        workspace: a clone of the commit, or here.
    """
    settings = load_settings()
    source_url = _prefix(prefix, settings.refresh)
    storage = Storage()
    digest = runtime.retried(lambda: read_delivery(storage, source_url).digest(), settings.defaults)
    with opened(workspace, "refresh", str(source_url)) as (source, root):
        tags = {_DIGEST: digest, _COMMIT: git(root, "rev-parse", "HEAD")}
        before = None if force else finished_run(store_from_env(source), tags)
        if before is not None:
            runtime.log().info(
                "nothing new under %s: MLflow run %s processed the same data with the same commit", source_url, before
            )
            return {"imported": False, "mlflow_run": before}
        plan = make_plan(source, root, RunRequest(overrides=_OVERRIDES))
        with prepared(plan):
            _bring(plan, storage, source_url, settings.defaults)
        return {"imported": True, **execute(plan, "refresh", tags)}


def _prefix(given: str | None, settings: RefreshSettings) -> Location:
    url = given or settings.prefix or os.environ.get(RAW_PREFIX, "").strip()
    if not url:
        raise InputError(
            f"prefix: expected s3://bucket/prefix as argument, in refresh.prefix or in {RAW_PREFIX}, got none"
        )
    return locate(url)


def _bring(plan: RunPlan, storage: Storage, prefix: Location, settings: StageSettings) -> DeliveryResult:
    """Import the delivery into the workspace, track it with DVC, and return what was imported."""
    into = plan.root / plan.settings.refresh.into
    pointer, tracked = _pointer(plan, into)
    workspace = plan.workspace()
    if plan.settings.remote.location() is not None:
        handoff.pull_raw(workspace, plan.graph)
    if not (plan.root / tracked).exists():  # it may hold more than the delivery, such as the benchmark
        raise InputError(
            f"{plan.root / tracked}: expected it here or in DVC's remote (UMGCLIP_REMOTE_URL), found neither"
        )
    done = runtime.retried(lambda: import_delivery(storage, prefix, into), settings)
    runtime.log().info(
        "%s: %d shards downloaded, %d already present, digest %s", into, done.downloaded, done.reused, done.digest
    )
    workspace.dvc("add", pointer.removesuffix(".dvc"))
    if plan.settings.remote.location() is not None and plan.settings.remote.push:
        workspace.dvc("push", pointer)
    return done


def _pointer(plan: RunPlan, into: Path) -> tuple[str, str]:
    """Return the `.dvc` file that tracks the dataset, and the path that it tracks."""
    for node in plan.graph.nodes:
        for out in node.outs:
            if not node.command and into.is_relative_to(plan.root / out):
                return node.name, out
    raise InputError(f"refresh.into: expected a folder that `dvc add` tracks, got {into.relative_to(plan.root)}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def _main(
    prefix: Annotated[str | None, typer.Argument(help="s3://bucket/prefix with manifest.json")] = None,
    force: Annotated[bool, typer.Option("--force", help="run even if the same data was processed before")] = False,
    here: Annotated[bool, typer.Option("--here", help="run in this checkout instead of a clone")] = False,
) -> None:
    """Run the whole pipeline on new raw data, up to a challenger."""
    runtime.start(refresh, prefix, force, "here" if here else "clone")


def main() -> int:
    """Run the command line of this module and return its exit code."""
    return exits.run(app, "flows.refresh")


if __name__ == "__main__":
    sys.exit(main())
