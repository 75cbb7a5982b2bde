"""Set flow runs to Crashed if their process or machine is gone, so that they hold no slot.

    python lost_runs.py --silent-s 540 --start-s 3600

A heartbeat or a state change is a sign of life. Times are measured by this process and only while the server answers,
so runs survive its restart. `PREFECT_API_URL` and `PREFECT_API_AUTH_STRING` name the server and its login.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import EventFilter, EventNameFilter, EventOrder, EventResourceFilter
from prefect.states import Crashed

HEARTBEAT = "prefect.flow-run.heartbeat"
_HELD = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED)
_PAGE = 200
_log = logging.getLogger("lost_runs")


@dataclass(frozen=True)
class Look:
    """The state of a run on the server; `starting` is True while a cluster may still create its machine."""

    run: UUID
    state: UUID | None
    heartbeat: datetime.datetime | None
    starting: bool


class Watch:
    """A tracker that derives from repeated looks which runs are lost."""

    def __init__(self, silent_s: float, start_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits_s = {False: silent_s, True: start_s}
        self._clock = clock
        self._looked = clock()
        self._known: dict[UUID, tuple[Look, float]] = {}

    def missed(self) -> None:
        """Ignore the time since the last look, because the server did not answer."""
        passed_s = self._clock() - self._looked
        self._looked += passed_s
        self._known = {run: (look, since + passed_s) for run, (look, since) in self._known.items()}

    def lost(self, looks: Iterable[Look]) -> list[tuple[Look, float]]:
        """Return the runs without a sign of life for too long, with the seconds since the last one."""
        now = self._looked = self._clock()
        before, self._known = self._known, {}
        for look in looks:
            known = before.get(look.run)
            self._known[look.run] = known if known is not None and known[0] == look else (look, now)
        return [
            (look, now - since) for look, since in self._known.values() if now - since > self._limits_s[look.starting]
        ]


def look_at(client: SyncPrefectClient) -> list[Look]:
    """Return all runs that hold a slot on the server."""
    made_for_a_run = {pool.name for pool in client.read_work_pools() if pool.type != "process"}
    return [
        Look(
            run.id,
            run.state_id,
            None if run.state_type is StateType.PENDING else _last_heartbeat(client, run.id),
            run.state_type is StateType.PENDING and run.work_pool_name in made_for_a_run,
        )
        for run in _held(client)
    ]


def _held(client: SyncPrefectClient) -> Iterator[FlowRun]:
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_HELD))))
    for page in range(1_000):
        runs = client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, offset=page * _PAGE)
        # a suspended run has no process until it is resumed
        yield from (run for run in runs if run.state is None or not run.state.state_details.pause_reschedule)
        if len(runs) < _PAGE:
            return


def _last_heartbeat(client: SyncPrefectClient, run: UUID) -> datetime.datetime | None:
    wanted = EventFilter(
        event=EventNameFilter(name=[HEARTBEAT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
        order=EventOrder.DESC,
    )
    events = client.read_events(filter=wanted, limit=1).events
    return events[0].occurred if events else None


def call_crashed(client: SyncPrefectClient, look: Look, silent_s: float) -> bool:
    """Set a run to Crashed, which frees its slot; return False if the run has changed its state meanwhile."""
    if client.read_flow_run(look.run).state_id != look.state:
        return False
    message = f"no sign of life for {silent_s:.0f} s: its process, worker or machine is gone"
    # without force, a run that is being cancelled waits for its worker
    client.set_flow_run_state(look.run, Crashed(message=message), force=True)
    _log.warning("flow run %s is Crashed: %s", look.run, message)
    return True


def watch(given: argparse.Namespace) -> None:
    """Check for lost runs until the process ends."""
    seen = Watch(given.silent_s, given.start_s)
    while True:
        try:
            with get_client(sync_client=True) as client:
                while True:
                    for look, silent_s in seen.lost(look_at(client)):
                        call_crashed(client, look, silent_s)
                    if given.beat is not None:
                        given.beat.touch()
                    time.sleep(given.poll_s)
        except (httpx.HTTPError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "API" not in str(error):
                raise
            seen.missed()
            _log.warning("Prefect does not answer: %s", error)
            time.sleep(given.poll_s)


def main() -> None:
    """Parse the options and check for lost runs until the process ends."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--silent-s", type=float, required=True, help="limit without a sign of life; three heartbeats")
    options.add_argument(
        "--start-s", type=float, required=True, help="limit while Pending in a pool that creates machines"
    )
    options.add_argument("--poll-s", type=float, default=15.0, help="seconds between two looks")
    options.add_argument("--beat", type=Path, help="file to touch after each look")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    watch(options.parse_args())


if __name__ == "__main__":
    main()
