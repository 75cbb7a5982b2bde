"""`python -m infra.bootstrap` against a real Prefect server: creates objects once and repairs changed ones."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from infra.bootstrap import bootstrap
from infra.pools import LostRuns, Pools, WorkPool, read_pools
from umgclip.errors import InputError, TrackingError

ROOT = Path(__file__).parents[2]


def _apply(pools: Pools) -> list[str]:
    changes: list[str] = []
    count = asyncio.run(bootstrap(pools, changes.append))
    assert count == len(changes)
    return changes


@pytest.mark.heavy
def test_a_server_gets_pools_and_limits_and_keeps_them(prefect_client_environment: dict[str, str]):
    pools = read_pools()

    _apply(pools)

    assert _apply(pools) == []
    with get_client(sync_client=True) as client:
        for name, wanted in pools.work_pools.items():
            existing = client.read_work_pool(name)
            assert (existing.type, existing.concurrency_limit) == (wanted.type, wanted.runs_at_once)
        gpu = client.read_work_pool("gpu-kubernetes").base_job_template
        assert "gpu_count" in gpu["variables"]["properties"]
        for name, limit in pools.limits.items():
            assert client.read_global_concurrency_limit_by_name(name).limit == limit


@pytest.mark.heavy
def test_what_was_changed_on_the_server_is_mended(prefect_client_environment: dict[str, str]):
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, WorkPoolUpdate

    pools = read_pools()
    _apply(pools)
    with get_client(sync_client=True) as client:
        client.update_work_pool("gpu", WorkPoolUpdate(concurrency_limit=99))
        client.update_global_concurrency_limit("umgclip-promotion", GlobalConcurrencyLimitUpdate(limit=7))

    assert _apply(pools) == ["work pool gpu: changed", "limit umgclip-promotion: 1"]


@pytest.mark.heavy
def test_the_automation_of_earlier_versions_goes(prefect_client_environment: dict[str, str]):
    from prefect.events.actions import DoNothing
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    _apply(read_pools())
    trigger = EventTrigger(expect={"prefect.flow-run.*"}, posture=Posture.Reactive, threshold=1)
    with get_client(sync_client=True) as client:
        client.create_automation(AutomationCore(name="Lost runs are Crashed", trigger=trigger, actions=[DoNothing()]))

        (change,) = _apply(read_pools())

        assert change.startswith("automation 'Lost runs are Crashed': removed")
        assert client.read_automations_by_name("Lost runs are Crashed") == []


@pytest.mark.heavy
@pytest.mark.parametrize(("given", "named"), [("", "got none"), ("umgclip:wrong", "got a different one")])
def test_a_wrong_login_is_named(prefect_client_environment: dict[str, str], tmp_path: Path, given: str, named: str):
    url = prefect_client_environment["PREFECT_API_URL"]

    done = bootstrap_command(tmp_path, PREFECT_API_URL=url, PREFECT_API_AUTH_STRING=given)

    assert done.returncode == TrackingError.exit_code
    assert "expected its login, user:password, in PREFECT_API_AUTH_STRING" in done.stderr
    assert done.stderr.strip().endswith(named)


@pytest.mark.heavy
def test_a_pool_of_another_type_is_left_and_named(prefect_client_environment: dict[str, str]):
    _apply(read_pools())
    other = WorkPool(type="ecs", description="x", template="ecs-gpu.json")
    pools = Pools(work_pools={"cpu": other}, lost_runs=LostRuns(silent_s=540, start_s=3600))

    with pytest.raises(InputError, match=r"work pool cpu: expected type ecs, the server has process"):
        _apply(pools)


def test_a_server_that_does_not_answer_is_named(tmp_path: Path):
    done = bootstrap_command(tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")

    assert re.search(r"Prefect at http://127.0.0.1:9/api/? \(PREFECT_API_URL\) does not answer", done.stderr)
    assert done.returncode == TrackingError.exit_code


def bootstrap_command(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PREFECT_HOME": str(home), "HOME": str(home), **variables}
    return subprocess.run(
        [sys.executable, "-m", "infra.bootstrap"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_without_an_address_the_command_says_what_is_missing(tmp_path: Path):
    done = bootstrap_command(tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("bootstrap: PREFECT_API_URL: expected the server's address")
