"""The pipeline as a Prefect flow with one task per stage, in the order of DVC's graph.

Run it from a checkout with `python -m flows.pipeline`, with or without a Prefect server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer

from umgclip.cli import exits
from umgclip.flows import runtime
from umgclip.flows.dvc.overrides import read_assignments
from umgclip.flows.execution import execute
from umgclip.flows.light import flow
from umgclip.flows.plan import RunRequest, WorkspaceKind, make_plan, opened, preview


@flow(name="pipeline", persist_result=False)
def pipeline(
    target: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    overrides: dict[str, Any] | None = None,
    workspace: WorkspaceKind = "here",
) -> dict[str, Any]:
    """Bring the pipeline up to date and return a summary of the run.

    Args:
        target: the last stage to run; none: all stages.
        force: recompute stages that are up to date.
        dry_run: show what would run, and stop.
        overrides: values of single parameters for this run, as {"train.lora.rank": 8}; params.yaml does not change.
        workspace: here, or a clone of the commit, which resumes a killed attempt; results stay in DVC's cache.
    """
    with opened(workspace, "pipeline", overrides or {}) as (source, root):
        request = RunRequest(target, force, overrides, as_is=True)
        if dry_run:
            return {"would": preview(make_plan(source, root, request))}
        with _mlflow_loads():
            plan = make_plan(source, root, request)
        return execute(plan, "pipeline")


@contextmanager
def _mlflow_loads() -> Iterator[None]:
    """Import MLflow, which takes a second, while the block waits for DVC in another process."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        loaded = pool.submit(import_module, "umgclip.register.registry")
        yield
        loaded.result()


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def _main(
    target: Annotated[str | None, typer.Option(help="the last stage to run; default: all stages")] = None,
    force: Annotated[bool, typer.Option("--force", help="recompute stages that are up to date")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would run, and stop")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="override a parameter, as train.lora.rank=8; may be repeated")
    ] = None,
    in_clone: Annotated[
        bool, typer.Option("--clone", help="run in a clone of the commit instead of this checkout")
    ] = False,
) -> None:
    """Bring the pipeline up to date stage by stage, and record its lineage in MLflow."""
    workspace: WorkspaceKind = "clone" if in_clone else "here"
    runtime.start(pipeline, target, force, dry_run, read_assignments(overrides or []), workspace)


def main() -> int:
    """Run the command line of this module and return its exit code."""
    return exits.run(app, "flows.pipeline")


if __name__ == "__main__":
    sys.exit(main())
