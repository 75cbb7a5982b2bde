"""Run the servers of `infra/compose.yaml` as plain processes on loopback, for one user: `make up`, `make down`.

PostgreSQL (SQLite if it is not installed), an S3 server, MLflow, Prefect and one worker per process pool. Data and logs
are in `.services/`, the login that all of them require in `.services/login.json`. The S3 server is moto's, which stores
objects in memory only, so MLflow's files are on disk instead. `UMGCLIP_S3_ENDPOINT` names an external S3 server.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping

import typer

from infra import choices
from infra.login import USER, login_file
from infra.plan import (
    BUCKET,
    REGION,
    ROOT,
    SECRETS,
    SQLITE_VARIABLE,
    Plan,
    base_environment,
    clients,
    names,
    port_variable,
    read_plan,
    servers,
)
from infra.pools import read_pools
from infra.processes import Ledger, Record, Service, ServiceError, check_port, is_alive
from umgclip.cli import exits
from umgclip.errors import InputError
from umgclip.provenance import git_state

_DEPLOY_S = 600

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def bring_up(plan: Plan, say: Callable[[str], None]) -> None:
    """Start the services that do not run yet; if one fails, end those that this call has started.

    Raises:
        InputError: a port is in use.
        ServiceError: a server does not start; has the end of its log.
    """
    ledger = Ledger(plan.state)
    with ledger.locked():
        _prepare(plan, ledger, say)
        before = set(ledger.running())
        try:
            if plan.cluster is not None:
                _start(ledger, [plan.cluster.service()], plan, say)
                plan.cluster.ensure(("mlflow", "prefect"))
            _start(ledger, servers(plan), plan, say)
            if plan.s3_endpoint is None:
                _make_bucket(plan)
            _configure(plan, say)
            for pool in read_pools().of_type("process"):
                if f"worker-{pool}" not in before:
                    choices.empty(choices.scratch(plan.state, pool))
            _start(ledger, clients(plan), plan, say)
        except BaseException:
            for name, record in reversed(ledger.records().items()):
                if name not in before:
                    ledger.stop(record)
            raise


def _prepare(plan: Plan, ledger: Ledger, say: Callable[[str], None]) -> None:
    """Clean up after a crash, create the database's files, and check that the ports are free."""
    running = ledger.running()
    _clear(plan, ledger, running)
    if plan.cluster is None:
        why = f"{SQLITE_VARIABLE} is set" if os.environ.get(SQLITE_VARIABLE) else "not installed"
        say(f"PostgreSQL: {why}; using SQLite instead, which can lock when several runs write at once")
    elif plan.cluster.make():
        say(f"PostgreSQL: new cluster in {plan.cluster.folder}")
    for service in [*([plan.cluster.service()] if plan.cluster else []), *servers(plan)]:
        variable = port_variable(service.name)
        if service.name not in running:
            check_port(service, variable)
        elif service.port != running[service.name].port:
            raise InputError(
                f"{variable}: {service.name} runs on port {running[service.name].port}, got {service.port}; "
                "run `make down` first"
            )
    choices.remember(plan.state, plan.choice)


def _clear(plan: Plan, ledger: Ledger, running: Mapping[str, Record]) -> None:
    for name, record in ledger.records().items():
        if name not in running:
            ledger.end(record)
    login = login_file(plan.state)
    if running and not login.is_file():
        raise InputError(f"{login}: expected the login of the servers that run, found none; run `make down` first")


def _start(ledger: Ledger, services: list[Service], plan: Plan, say: Callable[[str], None]) -> None:
    waiting = []
    for service in services:
        if service.name in ledger.running():
            say(f"{service.name}: already running")
            continue
        # a listening server needs no access to the other servers
        others = plan.exports() if service.port is None else {}
        waiting.append((service, ledger.start(service, {**base_environment(plan), **others})))
    for service, record in waiting:
        ledger.wait(service, record)
        where = "" if service.port is None else f", port {service.port}"
        say(f"{service.name}: up (pid {record.pid}{where})")


def _configure(plan: Plan, say: Callable[[str], None]) -> None:
    """Create pools and limits, which are required, and deployments, which need a commit and may fail with a message."""
    environment = {**os.environ, **base_environment(plan), **plan.exports()}
    made = _run([sys.executable, "-m", "infra.bootstrap"], environment)
    if made.returncode != 0:
        raise ServiceError(
            f"infra.bootstrap: exit code {made.returncode}: {made.stderr.strip() or made.stdout.strip()}"
        )
    done = _run([sys.executable, "-m", "infra.deployments"], environment)
    if done.returncode == 0:
        say("prefect: pools, limits and deployments are up to date")
        if git_state(ROOT).dirty:
            say("  they use the last commit: workers clone it without the uncommitted changes here")
    else:
        say(f"no deployments: {(done.stderr.strip() or done.stdout.strip())}")


def _run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - own commands
            command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, timeout=_DEPLOY_S, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"did not end within {_DEPLOY_S} s")


def _make_bucket(plan: Plan) -> None:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=plan.s3,
        region_name=REGION,
        aws_access_key_id=plan.login.s3_key,
        aws_secret_access_key=plan.login.s3_secret,
        config=Config(proxies={}),
    )
    client.create_bucket(Bucket=BUCKET)


@app.command()
def up() -> None:
    """Start every server that does not run yet, and print how to use them."""
    plan = read_plan(os.environ)
    bring_up(plan, typer.echo)
    typer.echo(f'\nData and logs are in {plan.state}. To use the servers: eval "$(make -s env)"\n')
    for name, value in plan.exports().items():
        if name not in SECRETS:
            typer.echo(f"{name}={value}")
    typer.echo(
        f"\nPrefect's page is {plan.prefect_api.removesuffix('/api')} and asks for {USER}:PASSWORD, MLflow's is "
        f"{plan.mlflow} and asks for both apart; the password is in {login_file(plan.state)}"
    )


@app.command()
def down() -> None:
    """End the processes that `up` started, and nothing else; data stay."""
    plan = read_plan(os.environ)
    ledger = Ledger(plan.state)
    with ledger.locked():
        ended = ledger.stop_all()
        choices.forget(plan.state)
        for pool in read_pools().of_type("process"):
            choices.remove(choices.scratch(plan.state, pool))
    typer.echo(f"ended: {', '.join(ended)}" if ended else "nothing runs")


@app.command()
def status() -> None:
    """List the servers with their pids, ports and logs; the exit code is 1 unless all run."""
    plan = read_plan(os.environ)
    ledger = Ledger(plan.state)
    records = ledger.records()
    for name in names(plan):
        record = records.get(name)
        if record is not None and is_alive(record):
            typer.echo(f"{name}: pid {record.pid}, port {record.port or '-'}, {ledger.log(name)}")
        else:
            typer.echo(f"{name}: down")
    if not set(names(plan)) <= set(ledger.running()):
        raise typer.Exit(1)


@app.command()
def env() -> None:
    """Print the variables, including the login, as lines for `eval`."""
    for name, value in read_plan(os.environ).exports().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    sys.exit(exits.run(app, "services"))
