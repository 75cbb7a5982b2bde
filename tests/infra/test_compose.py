"""`infra/compose.yaml`: valid by the Compose specification, nothing secret in it, nothing that floats."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from infra.pools import read_pools

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra/compose.yaml"
EXAMPLE = ROOT / "infra/.env.example"
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))


def _example() -> dict[str, str]:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_file_is_valid_by_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_docker_compose_reads_it_and_asks_for_what_is_missing(tmp_path: Path):
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no `docker compose` here (a client with the compose plugin is enough, no engine)")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    filled = tmp_path / "env"
    filled.write_text("".join(f"{name}=abc\n" for name in _example()), encoding="utf-8")
    config = [docker, "compose", "--file", str(FILE), "--profile", "*", "--env-file"]

    good = subprocess.run(
        [*config, str(filled), "config"], env=environment, capture_output=True, text=True, check=False
    )
    bad = subprocess.run([*config, "/dev/null", "config"], env=environment, capture_output=True, text=True, check=False)

    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0
    assert "in infra/.env" in bad.stderr


def test_what_is_required_is_asked_for_in_the_example_and_nothing_is_filled_in():
    required = set(REQUIRED.findall(FILE.read_text(encoding="utf-8")))

    assert required == set(_example())
    assert set(_example().values()) == {""}, "an example with values would be used as it is"


def test_no_password_stands_in_the_file(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            names_a_secret = re.search(r"_AUTH_STRING_SECRET_(NAME|KEY)$", key)  # of Kubernetes
            if re.search(r"PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY", key) and not names_a_secret:
                assert REQUIRED.fullmatch(str(value)), f"{name}: {key}"


def test_images_are_pinned(compose: dict[str, Any]):
    foreign = {name: service["image"] for name, service in compose["services"].items() if "build" not in service}

    assert set(foreign) == {"postgres", "s3"}
    for image in foreign.values():
        assert re.fullmatch(r"[a-z/]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}", image)


def test_every_server_has_a_health_check_and_is_waited_for(compose: dict[str, Any]):
    services = compose["services"]

    for name in ("postgres", "s3", "mlflow", "prefect", "lost-runs"):
        assert services[name]["healthcheck"]["test"], name
        assert services[name]["restart"] == "unless-stopped"
    for service in services.values():
        for needed in service.get("depends_on", {}).values():
            assert needed == {"condition": "service_healthy"}


def test_ports_are_on_loopback_and_the_database_has_none(compose: dict[str, Any]):
    ports = {name: service.get("ports", []) for name, service in compose["services"].items()}

    assert all(port.startswith("127.0.0.1:") for listed in ports.values() for port in listed)
    assert ports["postgres"] == []


def test_mlflow_has_a_login_a_list_of_hosts_and_no_job_runners(compose: dict[str, Any]):
    mlflow = compose["services"]["mlflow"]

    assert "--app-name=basic-auth" in mlflow["command"]
    assert "--artifacts-destination=s3://mlflow" in mlflow["command"]
    assert mlflow["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].startswith("mlflow:5000,localhost:*")
    assert mlflow["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert "mlflow" in compose["services"]["s3"]["environment"]["S3_BUCKET"].split(",")


@pytest.mark.parametrize(
    ("public", "host", "origin"),
    [
        (None, "localhost:5000", None),
        ("mlflow.example.org", "mlflow.example.org", "https://mlflow.example.org"),
        ("mlflow.example.org", "mlflow.example.org:8443", "https://mlflow.example.org:8443"),
        ("mlflow.example.org:8443", "mlflow.example.org:8443", "https://mlflow.example.org:8443"),
    ],
)
def test_mlflow_answers_for_its_public_name_with_a_port_or_without(
    compose: dict[str, Any], public: str | None, host: str, origin: str | None
):
    from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request

    def of(name: str) -> list[str]:
        value = compose["services"]["mlflow"]["environment"][name]
        return value.replace("${MLFLOW_PUBLIC_HOST:-localhost}", public or "localhost").split(",")

    hosts, origins = of("MLFLOW_SERVER_ALLOWED_HOSTS"), of("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS")
    assert is_allowed_host_header(hosts, host)
    assert is_allowed_host_header(hosts, "mlflow:5000")
    assert not is_allowed_host_header(hosts, "evil.example")
    assert not is_allowed_host_header(hosts, f"x{host}")
    assert should_block_cors_request("https://evil.example", "POST", origins)
    assert origin is None or not should_block_cors_request(origin, "POST", origins)


def test_prefect_has_a_login_lists_of_hosts_and_origins_and_leases_that_outlive_it(compose: dict[str, Any]):
    prefect = compose["services"]["prefect"]
    environment = prefect["environment"]

    assert "prefect_app:create_app" in prefect["command"]
    assert environment["PREFECT_SERVER_API_AUTH_STRING"].startswith("${PREFECT_AUTH:?")
    assert environment["UMGCLIP_PREFECT_HOSTS"] == "prefect,localhost,127.0.0.1"
    assert environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:${PREFECT_PORT:-4200}"
    assert environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith(".lease_storage.filesystem")
    # leases lie in PREFECT_HOME, a volume that no tmpfs covers and whose folder the image gives to its user
    assert f"prefect:{environment['PREFECT_HOME']}" in prefect["volumes"]
    assert environment["PREFECT_HOME"] not in prefect["tmpfs"]
    dockerfile = (FILE.parent / "docker/servers.Dockerfile").read_text(encoding="utf-8")
    assert re.search(rf"--owner=servers .*{environment['PREFECT_HOME']}$", dockerfile, re.MULTILINE)


def test_the_watch_has_the_times_of_the_pools(compose: dict[str, Any]):
    command = compose["services"]["lost-runs"]["command"]
    limits = read_pools().lost_runs

    assert command[command.index("--silent-s") + 1] == str(limits.silent_s)
    assert command[command.index("--start-s") + 1] == str(limits.start_s)


def test_what_containers_run_is_in_their_image(compose: dict[str, Any]):
    dockerfile = (FILE.parent / "docker/servers.Dockerfile").read_text(encoding="utf-8")

    for script in ("prefect_app.py", "lost_runs.py"):
        assert re.search(rf"^COPY .*infra/docker/{script}.* /srv/umgclip/$", dockerfile, re.MULTILINE)


def test_data_lie_in_volumes_and_every_mounted_file_exists(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (FILE.parent / source).is_file(), f"{name}: {volume}"
    assert "postgres:/var/lib/postgresql" in compose["services"]["postgres"]["volumes"]
    assert "s3:/data" in compose["services"]["s3"]["volumes"]
