"""The pipeline as a Prefect flow: one task a stage, in the order of DVC's graph.

`python -m flows.pipeline --help` runs it from a checkout, with a Prefect server or without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer

from flows import engine
from flows.dvc.overrides import read_assignments
from flows.execution import execute
from flows.light import flow
from flows.plan import RunRequest, WorkspaceKind, make_plan, opened, preview
from umgclip.cli import exits


@flow(name="pipeline", persist_result=False)
def pipeline(
    target: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    overrides: dict[str, Any] | None = None,
    workspace: WorkspaceKind = "here",
) -> dict[str, Any]:
    """Bring the pipeline up to date.

    Args:
        target: the last stage; none: all of them.
        force: compute also what is up to date.
        dry_run: say what would run and stop.
        overrides: other values for single parameters, as {"train.lora.rank": 8}; params.yaml itself stays as it is.
        workspace: here, or a clone of the commit, where a killed attempt is taken up; results stay in DVC's cache.
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
    """Import MLflow, a second's work, while the block waits for DVC in another process."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        loaded = pool.submit(import_module, "umgclip.register.registry")
        yield
        loaded.result()


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def _main(
    target: Annotated[str | None, typer.Option(help="the last stage; all of them without it")] = None,
    force: Annotated[bool, typer.Option("--force", help="compute also what is up to date")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run and stop")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="another value for a parameter, as train.lora.rank=8; repeat")
    ] = None,
    in_clone: Annotated[bool, typer.Option("--clone", help="in a clone of the commit, not here")] = False,
) -> None:
    """Bring the pipeline up to date, stage by stage, with its lineage in MLflow."""
    place: WorkspaceKind = "clone" if in_clone else "here"
    engine.start(pipeline, target, force, dry_run, read_assignments(overrides or []), place)


if __name__ == "__main__":
    sys.exit(exits.run(app, "flows.pipeline"))
