"""The flow `remote-stage`, which a worker runs, and the orchestrator's side that starts it and waits for it.

A lost worker (its run crashed, its machine went silent, or no worker took the run) is a temporary failure, so the
stage's retries send a new run to the pool. A stage that fails by itself is not retried.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import httpx
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.events.filters import EventFilter, EventNameFilter, EventOrder, EventResourceFilter
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed

from umgclip.errors import InputError, UmgclipError
from umgclip.flows import runtime
from umgclip.flows.dvc.failures import StageFailed, Unavailable, is_temporary
from umgclip.flows.dvc.handoff import Order, work
from umgclip.flows.nodes import Rendezvous, job_of_this_pod
from umgclip.flows.settings import RemoteSettings
from umgclip.learning.nodes import Seat

FLOW = "remote-stage"
UNAVAILABLE, STAGE_FAILED = "Unavailable", "StageFailed"  # names of states
_HEARTBEAT = "prefect.flow-run.heartbeat"
_EXIT_CODE = re.compile(r"\(exit code (\d+)\)$")
_WAITING = (StateType.SCHEDULED, StateType.PENDING)


def _run_name() -> str:
    order = flow_run.parameters["order"]
    order = order if isinstance(order, Order) else Order.model_validate(order)
    return order.stage if order.nodes == 1 else f"{order.stage}-{order.node}"


@flow(name=FLOW, flow_run_name=_run_name, persist_result=False, retries=0)
def remote_stage(order: Order) -> Any:  # noqa: ANN401 - a state of Prefect
    """Compute one stage for a pipeline run of another machine, and return the final Prefect state.

    Args:
        order: commit, stage, overrides, location of files, and the MLflow run that it belongs to.
    """

    def on_line(line: str) -> None:
        runtime.log().info("%s: %s", order.stage, line)

    try:
        outcome = work(order, on_line, _meeting(order), runtime.log().warning)
    except UmgclipError as error:
        runtime.log().error("%s", error)
        name = UNAVAILABLE if is_temporary(error) else STAGE_FAILED
        return Failed(name=name, message=f"{error} (exit code {error.exit_code})")
    return Completed(message=f"{outcome.state} in {outcome.seconds:.0f} s")


def _meeting(order: Order) -> Callable[[], Seat] | None:
    current = runtime.flow_run()
    if order.nodes == 1 or current is None:
        return None
    run = UUID(current[0])
    return Rendezvous(order.nodes, order.node, run, order.first or run, job_of_this_pod()).take_seat


class RemoteRun:
    """The orchestrator's handle on a worker's run of an order: starts it, polls it and stops it.

    Use it as a context manager: on exit after an error, it stops a run that is still active.
    """

    def __init__(
        self,
        client: SyncPrefectClient,
        order: Order,
        pool: str,
        settings: RemoteSettings,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Start the run; `variables` are job variables in addition to the deployment's.

        Raises:
            InputError: the pool has no deployment `remote-stage/POOL`.
        """
        name = f"{FLOW}/{pool}"
        try:
            given = {"order": order.model_dump(mode="json")}
            started = run_deployment(name, parameters=given, timeout=0, job_variables=dict(variables or {}) or None)
        except ObjectNotFound as error:
            raise InputError(
                f"pool {pool}: expected a deployment {name} on the Prefect server, found none; deploy it"
            ) from error
        assert isinstance(started, FlowRun)  # noqa: S101 - for the type checker; it would be a coroutine in async code
        what = order.stage
        if order.nodes > 1:
            what += f", node {order.node} of {order.nodes}"
        runtime.log().info("%s: sent to pool %s as flow run %s (%s)", what, pool, started.name, started.id)
        self._client, self._id, self._settings = client, started.id, settings
        self._watch = RunMonitor(order.stage, pool, settings)
        self._answered = time.monotonic()

    @property
    def id(self) -> UUID:
        """The id of the Prefect flow run that executes the order."""
        return self._id

    def __enter__(self) -> RemoteRun:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Stop the run because of an error; None: it has ended by itself, so there is nothing to do."""
        try:
            if isinstance(error, _Lost) and error.run == self._id:  # a lost run cannot end itself
                self._client.set_flow_run_state(self._id, Crashed(message=str(error)), force=True)
            elif error is not None:
                self._stop()
        except httpx.HTTPError as unanswered:
            runtime.log().warning("could not stop flow run %s: %s", self._id, unanswered)

    def is_final(self) -> bool:
        """Return whether the run has ended, successfully or not; False if the server does not answer."""
        try:
            state = self._client.read_flow_run(self._id).state
        except httpx.HTTPError as error:
            runtime.log().warning("Prefect does not answer: %s", error)
            return False
        return state is not None and state.is_final()

    def abandon(self, reason: str) -> None:
        """Set the run's state to Crashed, because its process can no longer do so."""
        try:
            self._client.set_flow_run_state(self._id, Crashed(message=reason), force=True)
        except httpx.HTTPError as unanswered:
            runtime.log().warning("could not end flow run %s: %s", self._id, unanswered)

    def done(self) -> bool:
        """Poll the run once and return whether it has succeeded.

        Raises:
            StageFailed: the stage failed, or somebody cancelled the run.
            Unavailable: the worker is lost, no worker took the run, or the worker's infrastructure failed.
        """
        try:
            state = self._client.read_flow_run(self._id).state
            heartbeat = _last_heartbeat(self._client, self._id)
        except httpx.HTTPError as error:
            if time.monotonic() - self._answered > self._settings.silence_timeout_s:
                raise Unavailable(f"Prefect does not answer any more: {error}") from error
            runtime.log().warning("Prefect does not answer: %s", error)
            return False
        self._answered = time.monotonic()
        try:
            return self._watch.done(state, heartbeat)
        except _Lost as lost:
            lost.run = self._id
            raise

    def _stop(self) -> None:
        state = self._client.read_flow_run(self._id).state
        if state is None or not state.is_final():
            message = "The run that requested it has ended or no longer needs it."
            waiting = state is None or state.type in _WAITING
            self._client.set_flow_run_state(
                self._id, Cancelled(message=message) if waiting else Cancelling(message=message)
            )


def dispatch(order: Order, pool: str, settings: RemoteSettings) -> None:
    """Send an order to one worker of a pool, or to several together, and wait for the result.

    Raises:
        InputError, StageFailed, Unavailable: as `RemoteRun` and its `done` say.
    """
    if order.nodes > 1:
        from umgclip.flows.group import together

        together(order, pool, settings)
        return
    with get_client(sync_client=True) as client, RemoteRun(client, order, pool, settings) as run:
        while not run.done():
            time.sleep(settings.poll_s)


class _Lost(Unavailable):
    """The worker has gone silent; `run` is its flow run."""

    run: UUID | None = None


class RunMonitor:
    """A monitor that derives from repeated polls whether a worker's run has succeeded, failed or been lost."""

    def __init__(
        self, stage: str, pool: str, settings: RemoteSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stage, self._pool, self._settings, self._clock = stage, pool, settings, clock
        self._since = clock()
        self._sign: tuple[Any, ...] = ()

    def done(self, state: State[Any] | None, heartbeat: datetime.datetime | None) -> bool:
        """Return whether the run has succeeded; False: poll again.

        Times are measured with this process's clock: a heartbeat counts from the moment it is first seen.

        Args:
            state: state of the run on the server.
            heartbeat: time of the run's last heartbeat by the worker's clock; None: none so far.

        Raises:
            StageFailed, Unavailable: the run failed, or will not succeed.
        """
        kind = state.type if state is not None else StateType.SCHEDULED
        if (kind, heartbeat) != self._sign:
            if not (kind in _WAITING and self._sign and self._sign[0] in _WAITING):
                self._since = self._clock()
            self._sign = (kind, heartbeat)
        passed_s = self._clock() - self._since
        if state is not None and state.is_final():
            self._check_end(state)
            return True
        if kind in _WAITING and passed_s > self._settings.start_timeout_s:
            raise Unavailable(
                f"stage {self._stage}: no worker of pool {self._pool} took it within {passed_s:.0f} s; start a worker"
            )
        if kind not in _WAITING and passed_s > self._settings.silence_timeout_s:
            raise _Lost(
                f"stage {self._stage}: the worker of pool {self._pool} is lost: expected a heartbeat within "
                f"{self._settings.silence_timeout_s:g} s, got none for {passed_s:.0f} s; see its log"
            )
        return False

    def _check_end(self, state: State[Any]) -> None:
        if state.is_completed():
            return
        message = f"stage {self._stage} on pool {self._pool}: {state.message or state.name}"
        if state.is_crashed() or state.name == UNAVAILABLE:
            raise Unavailable(message)
        match = _EXIT_CODE.search(state.message or "")
        raise StageFailed(message, int(match[1]) if match else 1)


def _last_heartbeat(client: SyncPrefectClient, run_id: UUID) -> datetime.datetime | None:
    """Return the time of a run's last heartbeat, or None without one."""
    wanted = EventFilter(
        event=EventNameFilter(name=[_HEARTBEAT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run_id}"]),
        order=EventOrder.DESC,
    )
    events = client.read_events(filter=wanted, limit=1).events
    return events[0].occurred if events else None
