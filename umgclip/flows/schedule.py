"""Run the pipeline of this project at set times: a process that waits here, and a Prefect server that shows its runs.

`python -m umgclip.flows.schedule "0 2 * * *"` runs it at two each night as long as the process lives. Servers and
workers are not needed for it; `infra/` has them, and there `prefect deployment schedule create` does the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from umgclip.cli import exits
from umgclip.errors import InputError
from umgclip.flows import runtime
from umgclip.flows.dvc.overrides import read_assignments
from umgclip.params import SECTIONS
from umgclip.params import overrides as known

_SERVER = "http://127.0.0.1:4200/api"
app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.command()
def _main(
    cron: Annotated[str, typer.Argument(help='when to run, as cron writes it: "0 2 * * *" is every night at two')],
    timezone: Annotated[str, typer.Option(help="the clock that counts, such as Europe/Berlin")] = "UTC",
    target: Annotated[str | None, typer.Option(help="the last stage to run; default: all stages")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="override a parameter, as train.lora.rank=8; may be repeated")
    ] = None,
    in_clone: Annotated[
        bool, typer.Option("--clone", help="run in a clone of the commit instead of this checkout")
    ] = False,
    name: Annotated[str | None, typer.Option(help="name of the deployment; default: that of this folder")] = None,
) -> None:
    """Run the pipeline of this folder at set times, one run at a time, until Ctrl-C.

    Stages that are up to date are skipped. A Prefect server shows the runs and
    their logs; start it with `prefect server start` in another terminal. A run
    that was due while this process was not running is not made up for.

    Example: python -m umgclip.flows.schedule "0 2 * * *" --timezone Europe/Berlin
    """
    parameters = checked(Path.cwd(), cron, timezone, overrides or [])
    if not runtime.served():
        raise InputError(
            f"PREFECT_API_URL: expected the address of a Prefect server, got none; run `prefect server start` in "
            f"another terminal and set PREFECT_API_URL={_SERVER}. Without a server, a line of cron does: "
            f"{cron} cd {Path.cwd()} && {Path(sys.executable).parent / 'dvc'} repro"
        )
    serve(cron, timezone, {**parameters, "target": target, "workspace": "clone" if in_clone else "here"}, name)


def checked(folder: Path, cron: str, timezone: str, overrides: list[str]) -> dict[str, Any]:
    """Check a schedule, and return the parameters of its runs that come from `overrides`.

    Raises:
        InputError: the folder is no project, or cron's line, the zone or an override is none.
    """
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    if not (folder / "dvc.yaml").is_file():
        raise InputError(f"expected a project with dvc.yaml, found none in {folder}; `umgclip init` makes one")
    try:
        CronSchedule(cron=cron)
    except ValidationError as error:
        raise InputError(
            f"CRON: expected five fields, minute hour day month weekday, such as '0 2 * * *', got {cron!r}"
        ) from error
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f"--timezone: expected a name such as Europe/Berlin, got {timezone!r}") from error
    known.read_assignments(overrides, SECTIONS)  # a wrong key is said now, not at night
    return {"overrides": read_assignments(overrides)}


def serve(cron: str, timezone: str, parameters: dict[str, Any], name: str | None) -> None:
    """Tell the server when to run, and run the pipeline here whenever it says so; returns on Ctrl-C."""
    from prefect import serve as serve_deployments
    from prefect.deployments.runner import EntrypointType, RunnerDeployment
    from prefect.schedules import Cron

    from umgclip.flows.pipeline import pipeline

    deployment = pipeline.to_deployment(
        name or Path.cwd().name,
        schedule=Cron(cron, timezone=timezone),
        parameters=parameters,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)  # noqa: S101 - it is a coroutine in an event loop alone
    # `pipeline.serve` would send each run a copy of the flow by pickle, which loses the types of its parameters
    serve_deployments(deployment, limit=1, pause_on_shutdown=True)


def main() -> int:
    """Run the command line of this module and return its exit code."""
    return exits.run(app, "flows.schedule")


if __name__ == "__main__":
    sys.exit(main())
