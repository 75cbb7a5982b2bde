"""A real Prefect server on loopback, started by what `make up` starts it with."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.plan import Plan, base_environment, read_plan, servers
from infra.processes import Ledger


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all different."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def variables(state: Path, **others: str) -> dict[str, str]:
    """Return the variables that give `infra.plan` a state folder and free ports."""
    names = ("POSTGRES", "S3", "MLFLOW", "PREFECT")
    ports = {f"UMGCLIP_{name}_PORT": str(port) for name, port in zip(names, free_ports(4), strict=True)}
    return {"UMGCLIP_SERVICES": str(state), **ports, **others}


@pytest.fixture(scope="session")
def prefect_plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """Start a Prefect server with SQLite and yield its plan."""
    plan = read_plan(variables(tmp_path_factory.mktemp("prefect") / "state", UMGCLIP_SQLITE="1"))
    ledger = Ledger(plan.state)
    plan.state.mkdir(parents=True)
    service = next(one for one in servers(plan) if one.name == "prefect")
    try:
        ledger.wait(service, ledger.start(service, base_environment(plan)))
        yield plan
    finally:
        ledger.stop_all()


@pytest.fixture
def prefect_client_environment(prefect_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Turn this process's Prefect client to that server; gives the variables for other processes."""
    from prefect.context import refresh_global_settings_context

    environment = {**os.environ, **base_environment(prefect_plan), **prefect_plan.exports()}
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME"):
        monkeypatch.setenv(name, environment[name])
    refresh_global_settings_context()
    yield environment
    monkeypatch.undo()
    refresh_global_settings_context()
