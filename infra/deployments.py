"""Deploy everything in `infra/prefect.yaml`; create missing schedules from `infra/pools.yaml`.

`prefect deploy` resets every schedule in its file each time, and would disable a schedule that an operator has enabled.
Therefore this module creates each schedule once, disabled, and never changes it again.
"""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from infra.bootstrap import connected
from infra.pools import Pools, read_pools
from infra.processes import ServiceError
from umgclip.cli import exits

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "infra/prefect.yaml")
_DEPLOY_S = 540
_SHOWN = 12


def deploy() -> None:
    """Run `prefect deploy` with the environment of this process.

    Raises:
        ServiceError: the command failed; has its last lines of output.
    """
    command = [sys.executable, "-m", *DEPLOY]
    try:
        done = subprocess.run(  # noqa: S603 - fixed command
            command, cwd=ROOT, capture_output=True, text=True, timeout=_DEPLOY_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"`{shlex.join(DEPLOY)}` did not end within {_DEPLOY_S} s; run it by hand to see why"
        ) from error
    if done.returncode != 0:
        printed = (done.stdout + done.stderr).strip().splitlines()
        lines = [f"`{shlex.join(DEPLOY)}` ended with {done.returncode}:", *printed[-_SHOWN:]]
        raise ServiceError("\n  ".join(lines))


async def make_schedules(pools: Pools, say: Callable[[str], None]) -> int:
    """Create the schedules that are missing on the server, disabled.

    Returns:
        The number of schedules created.

    Raises:
        TrackingError: the server does not answer, or refuses the login.
    """
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.exceptions import ObjectNotFound

    made = 0
    async with connected() as client:
        for name, wanted in pools.schedules.items():
            try:
                deployment = await client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue
            if deployment.schedules:
                continue
            schedule = CronSchedule(cron=wanted.cron, timezone=wanted.timezone)
            await client.create_deployment_schedules(deployment.id, [(schedule, False)])
            say(f"schedule of {name}: {wanted.cron} {wanted.timezone}, disabled")
            made += 1
    return made


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main() -> None:
    """Deploy everything, then create missing schedules."""
    deploy()
    asyncio.run(make_schedules(read_pools(), typer.echo))
    typer.echo("deployed")


if __name__ == "__main__":
    sys.exit(exits.run(app, "deployments"))
