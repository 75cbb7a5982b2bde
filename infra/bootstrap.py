"""Create or update the work pools and global limits of `infra/pools.yaml` on a Prefect server.

It can be run again at any time: correct objects stay untouched. It adds and changes objects, and deletes only an
automation of its own earlier versions. `PREFECT_API_URL` names the server, `PREFECT_API_AUTH_STRING` the login.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import typer

from infra.pools import TEMPLATES, Pools, WorkPool, read_pools
from umgclip.cli import exits
from umgclip.errors import InputError, TrackingError
from umgclip.safe_text import without_secrets

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_AUTOMATION = "Lost runs are Crashed"


@asynccontextmanager
async def connected() -> AsyncIterator[PrefectClient]:
    """Yield a client of the server in `PREFECT_API_URL`.

    Raises:
        TrackingError: the server does not answer, at first or later, or requires a different login.
    """
    from httpx import HTTPError, HTTPStatusError
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        server = without_secrets(str(client.api_url))
        problem = await client.api_healthcheck()
        if problem is not None:
            raise TrackingError(f"Prefect at {server} (PREFECT_API_URL) does not answer: {problem!r}")
        try:
            yield client
        except HTTPError as error:
            if isinstance(error, HTTPStatusError) and error.response.status_code == HTTPStatus.UNAUTHORIZED:
                given = "a different one" if os.environ.get("PREFECT_API_AUTH_STRING") else "none"
                raise TrackingError(
                    f"Prefect at {server}: expected its login, user:password, in PREFECT_API_AUTH_STRING, got {given}"
                ) from error
            raise TrackingError(f"Prefect at {server}: {error}") from error


async def bootstrap(pools: Pools, say: Callable[[str], None]) -> int:
    """Create or update pools and limits on the server, and report each change.

    Returns:
        The number of objects created or changed.

    Raises:
        TrackingError: the server does not answer.
        InputError: a pool of the same name has another type.
    """
    async with connected() as client:
        changes = [
            *[await _pool(client, name, pool) for name, pool in pools.work_pools.items()],
            *[await _limit(client, name, limit) for name, limit in pools.limits.items()],
            await _without_automation(client),
        ]
    for change in filter(None, changes):
        say(change)
    return len(list(filter(None, changes)))


async def _pool(client: PrefectClient, name: str, pool: WorkPool) -> str | None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    template = base_job_template(pool)
    try:
        existing = await client.read_work_pool(name)
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
        return f"work pool {name}: created"
    if existing.type != pool.type:
        raise InputError(
            f"work pool {name}: expected type {pool.type}, the server has {existing.type}; delete or rename it there"
        )
    wanted: dict[str, Any] = {
        "description": pool.description,
        "concurrency_limit": pool.runs_at_once,
        "base_job_template": template,
    }
    if all(getattr(existing, key) == value for key, value in wanted.items()):
        return None
    await client.update_work_pool(name, WorkPoolUpdate(**wanted))
    return f"work pool {name}: changed"


def base_job_template(pool: WorkPool) -> dict[str, Any]:
    """Return the base job template of a pool: the project's, or that of Prefect's process worker."""
    if pool.template is None:
        from prefect.workers.process import ProcessWorker

        return ProcessWorker.get_default_base_job_template()
    template: dict[str, Any] = json.loads((TEMPLATES / pool.template).read_text(encoding="utf-8"))
    return template


async def _limit(client: PrefectClient, name: str, limit: int) -> str | None:
    from prefect.exceptions import ObjectNotFound

    try:
        existing = await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        existing = None
    if existing is not None and existing.limit == limit and existing.active:
        return None
    await client.upsert_global_concurrency_limit_by_name(name, limit)
    return f"limit {name}: {limit}"


async def _without_automation(client: PrefectClient) -> str | None:
    """Delete the automation of earlier versions, which detected lost runs but missed events when the server died."""
    automations = await client.read_automations_by_name(_AUTOMATION)
    for automation in automations:
        await client.delete_automation(automation.id)
    return f"automation {_AUTOMATION!r}: removed, infra/docker/lost_runs.py replaces it" if automations else None


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main() -> None:
    """Read `infra/pools.yaml` and update the server to match it."""
    if not os.environ.get("PREFECT_API_URL", "").strip():
        raise InputError(
            "PREFECT_API_URL: expected the server's address, such as http://127.0.0.1:4200/api, found none"
        )
    changed = asyncio.run(bootstrap(read_pools(), typer.echo))
    typer.echo(f"{changed} changes" if changed else "nothing to change")


if __name__ == "__main__":
    sys.exit(exits.run(app, "bootstrap"))
