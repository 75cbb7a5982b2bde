"""Plan the servers that `make up` starts on a machine: their ports, commands and readiness checks."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from infra import postgres
from infra.choices import Choice, recall, scratch
from infra.login import USER, Login, login_of
from infra.pools import read_pools
from infra.processes import LOOPBACK, Service
from umgclip.errors import InputError
from umgclip.flows.dvc.orders import REPOSITORIES, without_login

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "umgclip"
REGION = "us-east-1"
PORTS = {"postgres": 5433, "s3": 9000, "mlflow": 5000, "prefect": 4200}
STATE_VARIABLE, S3_VARIABLE, SQLITE_VARIABLE = "UMGCLIP_SERVICES", "UMGCLIP_S3_ENDPOINT", "UMGCLIP_SQLITE"
SECRETS = ("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_HOSTS = (LOOPBACK, "localhost")  # host names that the servers accept
_DOCKER = Path(__file__).with_name("docker")
_HTTP_S, _GIT_S = 5.0, 60


@dataclass(frozen=True)
class Plan:
    """The servers of this machine and their locations; `cluster` is None if SQLite replaces PostgreSQL."""

    state: Path
    ports: Mapping[str, int]
    cluster: postgres.Cluster | None
    s3_endpoint: str | None
    choice: Choice

    @property
    def prefect_api(self) -> str:
        """The URL of Prefect's API for its clients."""
        return f"http://{LOOPBACK}:{self.ports['prefect']}/api"

    @property
    def mlflow(self) -> str:
        """The URL of the MLflow server for its clients."""
        return f"http://{LOOPBACK}:{self.ports['mlflow']}"

    @property
    def s3(self) -> str:
        """The URL of the S3 server for its clients."""
        return self.s3_endpoint or f"http://{LOOPBACK}:{self.ports['s3']}"

    @cached_property
    def login(self) -> Login:
        """The login of the servers, created on first access."""
        return login_of(self.state)

    def exports(self) -> dict[str, str]:
        """Return the variables that a shell needs to use the servers; those in `SECRETS` are for its owner only."""
        keys = {
            "AWS_ACCESS_KEY_ID": self.login.s3_key,
            "AWS_SECRET_ACCESS_KEY": self.login.s3_secret,
            "AWS_DEFAULT_REGION": REGION,
        }
        return {
            "PREFECT_API_URL": self.prefect_api,
            "PREFECT_API_AUTH_STRING": self.login.prefect,
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": self.login.password,
            "AWS_ENDPOINT_URL": self.s3,
            # the user provides the keys of an external S3 server
            **(keys if self.s3_endpoint is None else {}),
            "UMGCLIP_REMOTE_URL": f"s3://{BUCKET}/dvc",
            "UMGCLIP_RAW_PREFIX": f"s3://{BUCKET}/raw",
            "UMGCLIP_REPOSITORY": str(ROOT),
            REPOSITORIES: ",".join(repositories(ROOT)),
            "UMGCLIP_CHECKOUT": str(ROOT),
        }


def repositories(checkout: Path) -> list[str]:
    """Return the repositories that a worker may clone: the checkout and its origin, without a password."""
    command = ["git", "-C", str(checkout), "remote", "get-url", "origin"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=False)  # noqa: S603
    origin = result.stdout.strip() if result.returncode == 0 else ""
    return [str(checkout), *([without_login(origin)] if origin else [])]


def read_plan(environment: Mapping[str, str]) -> Plan:
    """Build the plan from the environment; missing values come from the running servers or the defaults.

    Raises:
        InputError: a port is invalid, or two servers have the same port.
    """
    state = Path(environment.get(STATE_VARIABLE, "").strip() or ROOT / ".services").absolute()
    runs = recall(state)
    ports = {}
    for name, default in PORTS.items():
        usual = default if runs is None else runs.ports.get(name, default)
        text = environment.get(port_variable(name), "").strip() or str(usual)
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            raise InputError(f"{port_variable(name)}: expected a port from 1 to 65535, got {text!r}")
        ports[name] = int(text)
    if len(set(ports.values())) < len(ports):
        raise InputError(f"expected a different port for each of {', '.join(map(port_variable, ports))}, got {ports}")
    s3_endpoint = environment.get(S3_VARIABLE, "").strip() or (runs.s3_endpoint if runs else None)
    sqlite = bool(environment.get(SQLITE_VARIABLE, "").strip()) or (runs is not None and runs.sqlite)
    cluster = None if sqlite else postgres.find(state, ports["postgres"])
    return Plan(state, ports, cluster, s3_endpoint, Choice(ports, s3_endpoint, sqlite))


def names(plan: Plan) -> list[str]:
    """Return the names of all services that `up` starts, in that order."""
    databases = [] if plan.cluster is None else ["postgres"]
    stores = ["s3"] if plan.s3_endpoint is None else []
    return [*databases, *stores, "mlflow", "prefect", *(service.name for service in clients(plan))]


def servers(plan: Plan) -> list[Service]:
    """Return the servers that may start together once the database runs: S3, MLflow and Prefect."""
    return [*([_s3(plan)] if plan.s3_endpoint is None else []), _mlflow(plan), _prefect(plan)]


def _s3(plan: Plan) -> Service:
    command = _program("infra.s3_server", host=LOOPBACK, port=plan.ports["s3"])
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={plan.login.s3_key}/"}
    ready = partial(_answers, f"{plan.s3}/moto-api/", signed)
    return Service("s3", command, ready, plan.ports["s3"], {"UMGCLIP_S3_KEY": plan.login.s3_key}, cwd=ROOT)


def _mlflow(plan: Plan) -> Service:
    store = f"sqlite:///{plan.state / 'mlflow.db'}" if plan.cluster is None else plan.cluster.url("psycopg2", "mlflow")
    port = plan.ports["mlflow"]
    options = {"host": LOOPBACK, "port": port, "workers": 1, "app_name": "basic-auth"}
    command = _program("mlflow server", **options, artifacts_destination=plan.state / "mlartifacts")
    environment = {
        # passwords are passed in the environment, because every user of the machine can read a command line
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_AUTH_CONFIG_PATH": str(Path(__file__).with_name("mlflow-users.ini")),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": plan.login.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": plan.login.mlflow_secret,
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{host}:{port}" for host in _HOSTS),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}:{port}" for host in _HOSTS),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return Service("mlflow", command, partial(_answers, f"{plan.mlflow}/health"), port, environment, cwd=plan.state)


def _prefect(plan: Plan) -> Service:
    store = f"sqlite+aiosqlite:///{plan.state / 'prefect.db'}"
    store = store if plan.cluster is None else plan.cluster.url("asyncpg", "prefect")
    port = plan.ports["prefect"]
    options = {"app_dir": _DOCKER, "host": LOOPBACK, "port": port, "timeout_keep_alive": 5, "log_level": "warning"}
    command = (*_program("uvicorn", **options), "--factory", "prefect_app:create_app")
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": store,
        "PREFECT_SERVER_API_AUTH_STRING": plan.login.prefect,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}:{port}" for host in _HOSTS),
        "PREFECT_UI_API_URL": plan.prefect_api,
        "UMGCLIP_PREFECT_HOSTS": ",".join(_HOSTS),
        # in PREFECT_HOME: leases in memory would end with the server, and their runs two minutes later
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    ready = partial(_answers, f"{plan.prefect_api}/health")
    return Service("prefect", command, ready, port, environment, cwd=plan.state)


def clients(plan: Plan) -> list[Service]:
    """Return the services that need Prefect's pools: the lost-run monitor and one worker per process pool."""
    return [_watch(plan), *(_worker(plan, pool) for pool in read_pools().of_type("process"))]


def _watch(plan: Plan) -> Service:
    limits = read_pools().lost_runs
    beat = plan.state / "lost-runs.beat"
    options = {"silent_s": limits.silent_s, "start_s": limits.start_s, "beat": beat}
    return Service(
        "lost-runs",
        (sys.executable, str(_DOCKER / "lost_runs.py"), *_options(options)),
        partial(_touched_since, beat, time.time()),
        environment={"PREFECT_CLIENT_MAX_RETRIES": "0"},  # it must notice when the server does not answer
        cwd=plan.state,
    )


def _worker(plan: Plan, pool: str) -> Service:
    options = {"pool": pool, "type": "process", "name": f"local-{pool}", "install_policy": "never"}
    return Service(
        f"worker-{pool}",
        (*_program("prefect worker start", **options), "--no-create-pool-if-not-found"),
        partial(_worker_online, plan, pool, f"local-{pool}"),
        environment={"TMPDIR": str(scratch(plan.state, pool))},
        cwd=plan.state,
    )


def _program(module_and_commands: str, **options: object) -> tuple[str, ...]:
    """Return the command of a module in this Python's environment, which need not be on the path."""
    return (sys.executable, "-m", *module_and_commands.split(), *_options(options))


def _options(given: Mapping[str, object]) -> list[str]:
    return [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def base_environment(plan: Plan) -> dict[str, str]:
    """Return the variables of every started process: this Python first on the path, own state, no telemetry."""
    programs = str(Path(sys.executable).parent)
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PREFECT_HOME": str(plan.state / "prefect"),
        "UMGCLIP_WORKER_DIR": str(plan.state / "worker"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        # set explicitly, or clients would use a proxy for loopback
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), LOOPBACK, "localhost"])),
    }


def port_variable(name: str) -> str:
    """Return the name of the environment variable that sets a server's port."""
    return f"UMGCLIP_{name.upper()}_PORT"


def _fetch(url: str, headers: Mapping[str, str], body: Any = None) -> Any:  # noqa: ANN401 - any JSON value
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})  # noqa: S310 - http on loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_HTTP_S) as answer:
        return answer.read()


def _answers(url: str, headers: Mapping[str, str] = MappingProxyType({})) -> bool:
    with suppress(urllib.error.URLError, OSError):
        _fetch(url, headers)
        return True
    return False


def _worker_online(plan: Plan, pool: str, worker: str) -> bool:
    login = {"Authorization": f"Basic {base64.b64encode(plan.login.prefect.encode()).decode()}"}
    with suppress(urllib.error.URLError, OSError):
        workers = json.loads(_fetch(f"{plan.prefect_api}/work_pools/{pool}/workers/filter", login, {}))
        return any(entry["name"] == worker and entry["status"] == "ONLINE" for entry in workers)
    return False


def _touched_since(path: Path, seconds: float) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime > seconds
    return False
