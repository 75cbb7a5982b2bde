"""Run one node of a stage whose other nodes are pods of the same indexed job: `python -m flows.take_part`.

The first pod executes the flow run; this pod reads the order from it. If this node ends early, the first node notices,
reports it and is retried. The exit code here is 0, because a failing pod would end the job before the first node has
reported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from uuid import UUID

from umgclip import extras

with extras.needed_by("umgclip.flows"):
    from prefect.client.orchestration import get_client

from umgclip.cli.lines import say
from umgclip.errors import InputError, UmgclipError
from umgclip.flows.dvc.handoff import Order, work
from umgclip.flows.nodes import Rendezvous, job_of_this_pod

INDEX, RUN = "JOB_COMPLETION_INDEX", "PREFECT__FLOW_RUN_ID"


def take_part(environment: Mapping[str, str]) -> None:
    """Compute the order of the flow run as the node with this pod's index.

    Raises:
        InputError: a variable is missing, or the order has fewer nodes.
        StageFailed, Unavailable: as in `umgclip.flows.dvc.handoff.work`.
    """
    for name in (INDEX, RUN):
        if not environment.get(name, "").strip():
            raise InputError(f"{name}: expected it to be set by the Kubernetes job, got none")
    run, node = UUID(environment[RUN]), int(environment[INDEX])
    with get_client(sync_client=True) as client:
        order = Order.model_validate(client.read_flow_run(run).parameters["order"])
    if node >= order.nodes:
        raise InputError(
            f"{INDEX}: expected 0 to {order.nodes - 1}, because the order has {order.nodes} nodes, got {node}"
        )
    meeting = Rendezvous(order.nodes, node, run, run, job_of_this_pod())
    work(order.model_copy(update={"node": node, "first": run}), say, meeting.take_seat)


def main() -> None:
    """Compute this node's part of the stage, and print any error."""
    try:
        take_part(os.environ)
    except UmgclipError as error:
        say(f"take part: {error}")


if __name__ == "__main__":
    main()
