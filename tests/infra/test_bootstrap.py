"""`python -m infra.bootstrap` against a real Prefect server: made once, then left alone, and mended when changed."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events import emit_event
from prefect.states import Running

from infra.bootstrap import WATCH, bootstrap
from infra.pools import LostRuns, Pools, WorkPool, read_pools
from umgclip.errors import InputError, TrackingError

ROOT = Path(__file__).parents[2]


def _apply(pools: Pools) -> list[str]:
    said: list[str] = []
    count = asyncio.run(bootstrap(pools, said.append))
    assert count == len(said)
    return said


@pytest.mark.heavy
def test_a_server_gets_pools_limits_and_the_watch_and_keeps_them(prefect_client_environment: dict[str, str]):
    pools = read_pools()

    _apply(pools)

    assert _apply(pools) == []
    with get_client(sync_client=True) as client:
        for name, wanted in pools.work_pools.items():
            found = client.read_work_pool(name)
            assert (found.type, found.concurrency_limit) == (wanted.type, wanted.runs_at_once)
        gpu = client.read_work_pool("gpu-kubernetes").base_job_template
        assert "gpu_count" in gpu["variables"]["properties"]
        for name, limit in pools.limits.items():
            assert client.read_global_concurrency_limit_by_name(name).limit == limit
        (watch,) = client.read_automations_by_name(WATCH)
        assert watch.enabled


@pytest.mark.heavy
def test_what_was_changed_on_the_server_is_mended(prefect_client_environment: dict[str, str]):
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, WorkPoolUpdate

    pools = read_pools()
    _apply(pools)
    with get_client(sync_client=True) as client:
        client.update_work_pool("gpu", WorkPoolUpdate(concurrency_limit=99))
        client.update_global_concurrency_limit("umgclip-promotion", GlobalConcurrencyLimitUpdate(limit=7))

    changed = _apply(pools.model_copy(update={"lost_runs": LostRuns(silent_s=600)}))

    assert changed == ["work pool gpu: changed", "limit umgclip-promotion: 1", f"automation {WATCH!r}: changed"]
    assert _apply(pools) == [f"automation {WATCH!r}: changed"]


@pytest.mark.heavy
def test_a_pool_of_another_type_is_left_and_named(prefect_client_environment: dict[str, str]):
    _apply(read_pools())
    other = WorkPool(type="ecs", description="x", template="ecs-gpu.json")
    pools = Pools(work_pools={"cpu": other}, lost_runs=LostRuns(silent_s=540))

    with pytest.raises(InputError, match=r"work pool cpu: expected type ecs, the server has process"):
        _apply(pools)


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_a_run_whose_heartbeats_stop_is_crashed_and_one_that_goes_on_is_not(
    prefect_client_environment: dict[str, str],
):
    @flow(name="lost")
    def lost() -> None:
        """Never run: its machine is gone."""

    # given two running flow runs that each sent a heartbeat, and a watch of 10 s
    _apply(read_pools().model_copy(update={"lost_runs": LostRuns(silent_s=10)}))
    with get_client(sync_client=True) as client:
        silent, alive = (client.create_flow_run(lost, state=Running()) for _ in range(2))
        heartbeat = "prefect.flow-run.heartbeat"
        emit_event(heartbeat, {"prefect.resource.id": f"prefect.flow-run.{silent.id}"})

        # when one goes on sending them
        async def until_crashed() -> StateType | None:
            for _ in range(100):
                emit_event(heartbeat, {"prefect.resource.id": f"prefect.flow-run.{alive.id}"})
                state = client.read_flow_run(silent.id).state
                if state is not None and state.is_crashed():
                    return state.type
                await asyncio.sleep(2)
            return None

        # then the other one, and it alone, is Crashed
        assert asyncio.run(until_crashed()) is StateType.CRASHED
        state = client.read_flow_run(silent.id).state
        assert state is not None
        assert "no heartbeat for 10 s" in (state.message or "")
        still = client.read_flow_run(alive.id).state
        assert still is not None
        assert still.type is StateType.RUNNING
    _apply(read_pools())


def test_a_server_that_does_not_answer_is_named(tmp_path: Path):
    said = bootstrap_command(tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")

    assert re.search(r"Prefect at http://127.0.0.1:9/api/? \(PREFECT_API_URL\) does not answer", said.stderr)
    assert said.returncode == TrackingError.exit_code


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
