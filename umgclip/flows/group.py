"""Run one stage on several workers together: send all orders at once, and end all runs together.

The first node decides when the stage is done, because its result is the one returned. If any node is lost, the others
are ended, and the stage's retries send all orders again. In Kubernetes the nodes are the pods of one indexed job, so
there is only one run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound

from umgclip.errors import InputError, UmgclipError
from umgclip.flows import runtime
from umgclip.flows.dvc.failures import StageFailed, Unavailable
from umgclip.flows.dvc.handoff import Order
from umgclip.flows.remote import RemoteRun
from umgclip.flows.settings import RemoteSettings

GONE = "did not end within {:g} s of the request to stop: its process or machine is gone"
# behind ECS's bridge network, other instances cannot reach a container's address
_VARIABLES = {"ecs": {"network_mode": "host"}}
_SETTLE_S = 60.0  # time the other nodes get to end after the first one has ended or any has failed


def together(order: Order, pool: str, settings: RemoteSettings) -> None:
    """Run an order on `order.nodes` workers of a pool, and wait for the first node's result.

    Raises:
        InputError: the pool has no deployment `remote-stage/POOL`, or its limit is below the number of nodes.
        StageFailed: the stage failed on any node.
        Unavailable: a worker is lost, or the infrastructure failed.
    """
    with get_client(sync_client=True) as client:
        work_pool = _pool(client, pool)
        kind = "" if work_pool is None else work_pool.type
        if kind == "kubernetes":
            with RemoteRun(client, order, pool, settings, {"nodes": order.nodes}) as run:
                while not run.done():
                    time.sleep(settings.poll_s)
            return
        _check_size(work_pool, order)
        own_variables = _VARIABLES.get(kind, {})
        runs: list[RemoteRun] = []
        try:
            runs.append(RemoteRun(client, order, pool, settings, own_variables))
            for node in range(1, order.nodes):
                node_order = order.model_copy(update={"node": node, "first": runs[0].id})
                runs.append(RemoteRun(client, node_order, pool, settings, own_variables))
            wait(runs, settings.poll_s)
        except UmgclipError as error:
            _end(runs, error, settings.poll_s)
            raise
        except BaseException as error:  # this process must end: do not wait for the runs
            for run in runs:
                run.end(error)
            raise
        _end(runs, None, settings.poll_s)


def wait(
    runs: Sequence[RemoteRun],
    poll_s: float,
    settle_s: float = _SETTLE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Poll all nodes until the first has succeeded, or until one has failed and the others had time to report why.

    Raises:
        StageFailed: the stage failed on any node; takes precedence over failures that it may have caused.
        Unavailable: a node was lost.
    """
    ended: dict[int, bool | UmgclipError] = {}
    failed: dict[int, UmgclipError] = {}
    since: float | None = None
    while len(ended) < len(runs) and (since is None or clock() - since < settle_s):
        for node, run in enumerate(runs):
            if node not in ended and (end := _look(run)):
                ended[node] = end
        failed = {node: end for node, end in ended.items() if isinstance(end, UmgclipError)}
        if since is None and (0 in ended or failed):
            since = clock()
        if len(ended) < len(runs):
            sleep(poll_s)
    for node, error in failed.items():
        runtime.log().warning("node %d: %s", node, error)
    if 0 not in ended or 0 in failed:
        raise min(failed.values(), key=lambda error: not isinstance(error, StageFailed))


def _look(run: RemoteRun) -> bool | UmgclipError:
    """Return whether a run has succeeded, or the error with which it failed."""
    try:
        return run.done()
    except UmgclipError as error:
        return error


def _end(runs: Sequence[RemoteRun], error: UmgclipError | None, poll_s: float) -> None:
    """Stop all active runs and wait until they have ended, because the next attempt needs their slots in the pool."""
    for run in runs:
        run.end(error or Unavailable("The first node has the result."))
    deadline = time.monotonic() + _SETTLE_S
    left = [run for run in runs if not run.is_final()]
    while left and time.monotonic() < deadline:
        time.sleep(poll_s)
        left = [run for run in left if not run.is_final()]
    for run in left:
        run.abandon(GONE.format(_SETTLE_S))


def _pool(client: SyncPrefectClient, name: str) -> WorkPool | None:
    try:
        return client.read_work_pool(name)
    except (ObjectNotFound, httpx.HTTPError):  # sending the orders reports this more precisely
        return None


def _check_size(pool: WorkPool | None, order: Order) -> None:
    most = None if pool is None else pool.concurrency_limit
    if pool is not None and most is not None and most < order.nodes:
        raise InputError(
            f"stages.{order.stage}.nodes: expected at most {most}, the concurrency limit of pool {pool.name}, "
            f"got {order.nodes}; lower it or raise the limit of the pool"
        )
