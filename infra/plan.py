"""Which servers `make up` gives a machine: their ports, their commands, how to ask whether they answer."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from infra import postgres
from infra.pools import read_pools
from infra.processes import LOOPBACK, Service
from umgclip.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "umgclip"
REGION = "us-east-1"
PORTS = {"postgres": 5433, "s3": 9000, "mlflow": 5000, "prefect": 4200}
STATE_VARIABLE, S3_VARIABLE, SQLITE_VARIABLE = "UMGCLIP_SERVICES", "UMGCLIP_S3_ENDPOINT", "UMGCLIP_SQLITE"
_HTTP_S = 5.0


@dataclass(frozen=True)
class Plan:
    """Which servers this machine gets, and where; `cluster` is None where SQLite takes PostgreSQL's place."""

    state: Path
    ports: Mapping[str, int]
    cluster: postgres.Cluster | None
    s3_endpoint: str | None

    @property
    def prefect_api(self) -> str:
        """Where clients of Prefect turn to."""
        return f"http://{LOOPBACK}:{self.ports['prefect']}/api"

    @property
    def mlflow(self) -> str:
        """Where clients of MLflow turn to."""
        return f"http://{LOOPBACK}:{self.ports['mlflow']}"

    @property
    def s3(self) -> str:
        """Where clients of S3 turn to."""
        return self.s3_endpoint or f"http://{LOOPBACK}:{self.ports['s3']}"

    def exports(self) -> dict[str, str]:
        """What a shell needs to use the servers. No secret is among them: the keys are moto's, which checks none."""
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
        return {
            "PREFECT_API_URL": self.prefect_api,
            "MLFLOW_TRACKING_URI": self.mlflow,
            "AWS_ENDPOINT_URL": self.s3,
            # keys of a real S3 server are the user's own
            **(keys if self.s3_endpoint is None else {}),
            "UMGCLIP_REMOTE_URL": f"s3://{BUCKET}/dvc",
            "UMGCLIP_RAW_PREFIX": f"s3://{BUCKET}/raw",
            "UMGCLIP_REPOSITORY": str(ROOT),
            "UMGCLIP_CHECKOUT": str(ROOT),
        }


def read_plan(environment: Mapping[str, str]) -> Plan:
    """Read the environment.

    Raises:
        InputError: a port is none, or two servers have the same.
    """
    ports = {}
    for name, default in PORTS.items():
        text = environment.get(port_variable(name), "").strip() or str(default)
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            raise InputError(f"{port_variable(name)}: expected a port from 1 to 65535, got {text!r}")
        ports[name] = int(text)
    if len(set(ports.values())) < len(ports):
        raise InputError(f"expected a port of its own for each of {', '.join(map(port_variable, ports))}, got {ports}")
    state = Path(environment.get(STATE_VARIABLE, "").strip() or ROOT / ".services").absolute()
    cluster = None if environment.get(SQLITE_VARIABLE, "").strip() else postgres.find(state, ports["postgres"])
    return Plan(state, ports, cluster, environment.get(S3_VARIABLE, "").strip() or None)


def names(plan: Plan) -> list[str]:
    """Everything that `up` starts, in that order."""
    databases = [] if plan.cluster is None else ["postgres"]
    stores = ["s3"] if plan.s3_endpoint is None else []
    return [*databases, *stores, "mlflow", "prefect", *(service.name for service in workers(plan))]


def servers(plan: Plan) -> list[Service]:
    """What may start at the same time once the database runs: S3, MLflow and Prefect."""
    return [*([_s3(plan)] if plan.s3_endpoint is None else []), _mlflow(plan), _prefect(plan)]


def _s3(plan: Plan) -> Service:
    command = _program("moto.server", host=LOOPBACK, port=plan.ports["s3"])
    return Service("s3", command, partial(_answers, f"{plan.s3}/moto-api/"), plan.ports["s3"], cwd=plan.state)


def _mlflow(plan: Plan) -> Service:
    store = f"sqlite:///{plan.state / 'mlflow.db'}" if plan.cluster is None else plan.cluster.url("psycopg2", "mlflow")
    options = {"host": LOOPBACK, "port": plan.ports["mlflow"], "workers": 1}
    command = _program("mlflow server", **options, artifacts_destination=plan.state / "mlartifacts")
    # a password goes through the environment: every user of the machine can read a command line
    environment = {"MLFLOW_BACKEND_STORE_URI": store, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    ready = partial(_answers, f"{plan.mlflow}/health")
    return Service("mlflow", command, ready, plan.ports["mlflow"], environment, cwd=plan.state)


def _prefect(plan: Plan) -> Service:
    store = f"sqlite+aiosqlite:///{plan.state / 'prefect.db'}"
    store = store if plan.cluster is None else plan.cluster.url("asyncpg", "prefect")
    command = _program("prefect server start", host=LOOPBACK, port=plan.ports["prefect"])
    environment = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": store}
    ready = partial(_answers, f"{plan.prefect_api}/health")
    return Service("prefect", command, ready, plan.ports["prefect"], environment, cwd=plan.state)


def workers(plan: Plan) -> list[Service]:
    """One process worker per process pool."""
    return [
        Service(
            f"worker-{pool}",
            (*_program("prefect worker start", pool=pool, type="process", name=f"local-{pool}", install_policy="never"),
             "--no-create-pool-if-not-found"),
            partial(_worker_online, plan.prefect_api, pool, f"local-{pool}"),
            cwd=plan.state,
        )
        for pool in read_pools().of_type("process")
    ]  # fmt: skip


def _program(module_and_commands: str, **options: object) -> tuple[str, ...]:
    """A program of this Python's environment, which need not be on the path."""
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return (sys.executable, "-m", *module_and_commands.split(), *given)


def base_environment(plan: Plan) -> dict[str, str]:
    """Variables of every process that is started: this Python first on the path, state of its own, nothing reported."""
    programs = str(Path(sys.executable).parent)
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PREFECT_HOME": str(plan.state / "prefect"),
        "UMGCLIP_WORKER_DIR": str(plan.state / "worker"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        # a set of its own, or a proxy would be asked for loopback
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), LOOPBACK, "localhost"])),
    }


def port_variable(name: str) -> str:
    """The environment variable that sets a server's port."""
    return f"UMGCLIP_{name.upper()}_PORT"


def _fetch(url: str, body: Any = None) -> Any:  # noqa: ANN401 - any JSON value
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - http on loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_HTTP_S) as answer:
        return answer.read()


def _answers(url: str) -> bool:
    with suppress(urllib.error.URLError, OSError):
        _fetch(url)
        return True
    return False


def _worker_online(api: str, pool: str, worker: str) -> bool:
    with suppress(urllib.error.URLError, OSError):
        found = json.loads(_fetch(f"{api}/work_pools/{pool}/workers/filter", {}))
        return any(entry["name"] == worker and entry["status"] == "ONLINE" for entry in found)
    return False
