"""`infra/prefect.yaml`, really deployed to a Prefect server and read back."""

import asyncio
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse
from ruamel.yaml import YAML

from infra import deployments
from infra.pools import read_pools

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra/prefect.yaml"
DEPLOY = [sys.executable, "-m", "infra.deployments"]
AGAIN = [*[sys.executable, "-m", *deployments.DEPLOY[:3]], "--name", "refresh/umgclip", *deployments.DEPLOY[4:]]
EXPECTED = {
    "pipeline/umgclip": ("flows/pipeline.py:pipeline", "cpu"),
    "sweep/umgclip": ("flows/sweep.py:sweep", "cpu"),
    "engine/umgclip": ("flows/engine.py:engine", "cpu"),
    "promote/umgclip": ("flows/promote.py:promote", "cpu"),
    "rollback/umgclip": ("flows/promote.py:rollback", "cpu"),
    "refresh/umgclip": ("flows/refresh.py:refresh", "cpu"),
    "remote-stage/gpu": ("flows/remote.py:remote_stage", "gpu"),
    "remote-stage/gpu-kubernetes": ("flows/remote.py:remote_stage", "gpu-kubernetes"),
    "remote-stage/gpu-ecs": ("flows/remote.py:remote_stage", "gpu-ecs"),
}
Deployed = dict[str, DeploymentResponse]


def _file() -> dict[str, Any]:
    return YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))


def test_every_deployment_is_of_a_known_pool_and_every_gpu_pool_has_one():
    listed = _file()["deployments"]
    pools = read_pools().work_pools

    assert {deployment["work_pool"]["name"] for deployment in listed} == set(pools)
    remote = [deployment for deployment in listed if "remote_stage" in deployment["entrypoint"]]
    assert all(deployment["name"] == deployment["work_pool"]["name"] for deployment in remote)
    assert {deployment["name"] for deployment in remote} == {name for name in pools if name.startswith("gpu")}


def test_no_schedule_stands_where_deploying_would_set_it_back():
    assert [one["name"] for one in _file()["deployments"] if "schedules" in one or "schedule" in one] == []


def _run(prefect_plan: Any, command: list[str]) -> None:
    from infra.plan import base_environment

    environment = {**base_environment(prefect_plan), **prefect_plan.exports(), "HOME": str(prefect_plan.state)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def deployed(prefect_plan: Any, request: pytest.FixtureRequest) -> Deployed:
    """Run the command of the file's first lines, and return the server's deployments."""
    for command in ([sys.executable, "-m", "infra.bootstrap"], DEPLOY):
        _run(prefect_plan, command)
    turned_to_server = request.getfixturevalue("turned_to_server")
    with turned_to_server(), get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        return {
            f"{flows[deployment.flow_id]}/{deployment.name}": deployment for deployment in client.read_deployments()
        }


@pytest.fixture(scope="module")
def turned_to_server(prefect_plan: Any) -> Any:
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    login = prefect_plan.login.prefect
    return partial(temporary_settings, {PREFECT_API_URL: prefect_plan.prefect_api, PREFECT_API_AUTH_STRING: login})


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_the_server_has_every_deployment_with_its_entrypoint_and_pool(deployed: Deployed):
    assert {
        name: (deployment.entrypoint, deployment.work_pool_name) for name, deployment in deployed.items()
    } == EXPECTED
    assert all(not deployment.paused for deployment in deployed.values())
    assert all("umgclip" in deployment.tags for deployment in deployed.values())


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_parameters_are_those_of_the_flows_and_are_enforced(deployed: Deployed):
    for deployment in deployed.values():
        schema = deployment.parameter_openapi_schema
        assert schema is not None
        assert deployment.enforce_parameter_schema
        assert set(deployment.parameters) <= set(schema["properties"])
    properties = {name: deployed[name].parameter_openapi_schema["properties"] for name in deployed}  # type: ignore[index]
    assert {"target", "force", "dry_run", "overrides"} <= set(properties["pipeline/umgclip"])
    assert properties["pipeline/umgclip"]["dry_run"]["type"] == "boolean"
    assert {"version", "dry_run"} <= set(properties["promote/umgclip"])
    assert {"dry_run"} <= set(properties["rollback/umgclip"])
    assert {"prefix"} <= set(properties["refresh/umgclip"])
    assert {"space"} <= set(properties["sweep/umgclip"])
    assert set(properties["remote-stage/gpu"]) == {"order"}


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_the_refresh_has_a_schedule_that_is_off_and_nothing_else_has_one(deployed: Deployed):
    scheduled = {name: deployment.schedules for name, deployment in deployed.items() if deployment.schedules}

    assert set(scheduled) == {"refresh/umgclip"}
    (schedule,) = scheduled["refresh/umgclip"]
    assert schedule.active is False


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_deploying_again_leaves_an_operators_schedules(prefect_plan: Any, deployed: Deployed, turned_to_server: Any):
    from prefect.client.schemas.schedules import CronSchedule

    refresh = deployed["refresh/umgclip"]
    with turned_to_server(), get_client(sync_client=True) as client:
        # given a schedule that was switched on and moved, and one more
        first = refresh.schedules[0].id
        weekly, daily = CronSchedule(cron="5 4 * * 1"), CronSchedule(cron="6 5 * * *")
        client.update_deployment_schedule(refresh.id, first, active=True, schedule=daily)
        client.create_deployment_schedules(refresh.id, [(weekly, True)])

        # when it is deployed again, by either command
        _run(prefect_plan, AGAIN)
        made = asyncio.run(deployments.make_schedules(read_pools(), lambda line: None))

        # then both are as they were
        schedules = client.read_deployment(refresh.id).schedules
        assert {(one.schedule.cron, one.active) for one in schedules} == {("6 5 * * *", True), ("5 4 * * 1", True)}
        assert made == 0


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_workers_elsewhere_clone_the_commit_and_steering_flows_run_in_the_checkout(deployed: Deployed):
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()

    for name, deployment in deployed.items():
        (step,) = deployment.pull_steps or [{}]
        ((kind, inputs),) = step.items()
        assert deployment.version == commit
        if name.startswith("remote-stage/"):
            assert kind.endswith(".git_clone")
            assert (inputs["commit_sha"], inputs["repository"]) == (commit, str(ROOT))
        else:
            assert kind.endswith(".set_working_directory")
            assert inputs == {"directory": str(ROOT)}


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_one_at_a_time_where_two_would_get_in_each_others_way(deployed: Deployed):
    limits = {name: deployment.global_concurrency_limit for name, deployment in deployed.items()}

    for name in ("promote/umgclip", "rollback/umgclip", "refresh/umgclip", "sweep/umgclip"):
        limit = limits[name]
        assert limit is not None
        assert limit.limit == 1
    strategy = deployed["refresh/umgclip"].concurrency_options
    assert strategy is not None
    assert strategy.collision_strategy.value == "CANCEL_NEW"


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_jobs_in_clusters_get_the_image_of_these_packages(deployed: Deployed):
    for name in ("remote-stage/gpu-kubernetes", "remote-stage/gpu-ecs"):
        variables = deployed[name].job_variables or {}
        assert re.fullmatch(r"umgclip-cuda:[0-9a-f]{12}", variables["image"])
        template = json.loads(
            (ROOT / "infra/templates" / f"{name.split('-', 2)[2]}-gpu.json").read_text(encoding="utf-8")
        )
        assert set(variables) <= set(template["variables"]["properties"])
