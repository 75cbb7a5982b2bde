"""`python -m flows.take_part`: one node of a stage whose other nodes are pods of the same indexed job.

The first pod runs the flow run; this one reads the order from it. Whatever ends this node is the first one's to report,
which loses it and so is tried again: here the exit code is 0, for a pod that fails would end the job before it has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from uuid import UUID

from prefect.client.orchestration import get_client

from flows.dvc.handoff import Order, work
from flows.nodes import Rendezvous, job_of_this_pod
from umgclip.cli.lines import say
from umgclip.errors import InputError, UmgclipError

INDEX, RUN = "JOB_COMPLETION_INDEX", "PREFECT__FLOW_RUN_ID"


def take_part(environment: Mapping[str, str]) -> None:
    """Compute what the flow run's order says, as the node of this pod's index.

    Raises:
        InputError: a variable is missing, or the order is for fewer nodes.
        StageFailed, Unavailable: as `flows.dvc.handoff.work`.
    """
    for name in (INDEX, RUN):
        if not environment.get(name, "").strip():
            raise InputError(f"{name}: expected it from the job, got none")
    run, node = UUID(environment[RUN]), int(environment[INDEX])
    with get_client(sync_client=True) as client:
        order = Order.model_validate(client.read_flow_run(run).parameters["order"])
    if node >= order.nodes:
        raise InputError(
            f"{INDEX}: expected 0 to {order.nodes - 1}, as the order is for {order.nodes} nodes, got {node}"
        )
    meeting = Rendezvous(order.nodes, node, run, run, job_of_this_pod())
    work(order.model_copy(update={"node": node, "first": run}), say, meeting.take_seat)


def main() -> None:
    """Take part, and say what went wrong."""
    try:
        take_part(os.environ)
    except UmgclipError as error:
        say(f"take part: {error}")


if __name__ == "__main__":
    main()
