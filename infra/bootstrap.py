"""Make a Prefect server agree with `infra/pools.yaml`: work pools, global limits, and the watch over lost runs.

Run it again at any time: what is right stays untouched. It adds and changes, it never deletes.
`PREFECT_API_URL` says which server.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from infra.pools import TEMPLATES, LostRuns, Pools, WorkPool, read_pools
from umgclip.cli import exits
from umgclip.errors import InputError, TrackingError
from umgclip.plain import without_secrets

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.events.schemas.automations import AutomationCore

WATCH = "Lost runs are Crashed"
_HEARTBEAT = "prefect.flow-run.heartbeat"


def watch_over_lost_runs(settings: LostRuns) -> AutomationCore:
    """The automation that a server of one's own lacks: a run whose heartbeats stop becomes Crashed.

    After a heartbeat any further event of the run will do, a state change as well: a run that is suspended, waits for
    its retry or has been rescheduled sends no heartbeats, and is not lost.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=WATCH,
        description="Sends nobody's machine a signal: it only tells the truth about a run whose machine is gone.",
        enabled=True,
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=settings.silent_s),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"no heartbeat for {settings.silent_s} s: its process or machine is gone",
            )
        ],
    )


async def bootstrap(pools: Pools, say: Callable[[str], None]) -> int:
    """Make the server agree.

    Returns:
        How many things were made or changed.

    Raises:
        TrackingError: the server does not answer.
        InputError: a pool of that name exists, with another type.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        problem = await client.api_healthcheck()
        if problem is not None:
            server = without_secrets(str(client.api_url))
            raise TrackingError(f"Prefect at {server} (PREFECT_API_URL) does not answer: {problem!r}")
        try:
            changes = [
                *[await _pool(client, name, pool) for name, pool in pools.work_pools.items()],
                *[await _limit(client, name, limit) for name, limit in pools.limits.items()],
                await _watch(client, pools.lost_runs),
            ]
        except HTTPError as error:
            raise TrackingError(f"Prefect at {client.api_url}: {error}") from error
    for change in filter(None, changes):
        say(change)
    return len(list(filter(None, changes)))


async def _pool(client: PrefectClient, name: str, pool: WorkPool) -> str | None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    template = base_job_template(pool)
    try:
        found = await client.read_work_pool(name)
    except ObjectNotFound:
        await client.create_work_pool(
            WorkPoolCreate(
                name=name,
                type=pool.type,
                description=pool.description,
                concurrency_limit=pool.runs_at_once,
                base_job_template=template,
            )
        )
        return f"work pool {name}: made"
    if found.type != pool.type:
        raise InputError(
            f"work pool {name}: expected type {pool.type}, the server has {found.type}; delete or rename it there"
        )
    wanted: dict[str, Any] = {
        "description": pool.description,
        "concurrency_limit": pool.runs_at_once,
        "base_job_template": template,
    }
    if all(getattr(found, key) == value for key, value in wanted.items()):
        return None
    await client.update_work_pool(name, WorkPoolUpdate(**wanted))
    return f"work pool {name}: changed"


def base_job_template(pool: WorkPool) -> dict[str, Any]:
    """The template of a pool's jobs: ours, or that of Prefect's process worker."""
    if pool.template is None:
        from prefect.workers.process import ProcessWorker

        return ProcessWorker.get_default_base_job_template()
    template: dict[str, Any] = json.loads((TEMPLATES / pool.template).read_text(encoding="utf-8"))
    return template


async def _limit(client: PrefectClient, name: str, limit: int) -> str | None:
    from prefect.exceptions import ObjectNotFound

    try:
        found = await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        found = None
    if found is not None and found.limit == limit and found.active:
        return None
    await client.upsert_global_concurrency_limit_by_name(name, limit)
    return f"limit {name}: {limit}"


async def _watch(client: PrefectClient, settings: LostRuns) -> str | None:
    wanted = watch_over_lost_runs(settings)
    found = await client.read_automations_by_name(WATCH)
    if not found:
        await client.create_automation(wanted)
        return f"automation {WATCH!r}: made"
    ours = wanted.model_dump(mode="json", include={"enabled", "trigger", "actions"})
    theirs = found[0].model_dump(mode="json", include={"enabled", "trigger", "actions"})
    if theirs == ours:
        return None
    await client.update_automation(found[0].id, wanted)
    return f"automation {WATCH!r}: changed"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main() -> None:
    """Read the file and make the server agree with it."""
    if not os.environ.get("PREFECT_API_URL", "").strip():
        raise InputError("PREFECT_API_URL: expected the server's address, as http://127.0.0.1:4200/api, found none")
    changed = asyncio.run(bootstrap(read_pools(), typer.echo))
    typer.echo(f"{changed} changes" if changed else "nothing to change")


if __name__ == "__main__":
    sys.exit(exits.run(app, "bootstrap"))
