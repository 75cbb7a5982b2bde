"""Let the nodes that compute a stage together find each other.

The first node's worker runs `dvc repro`, so its result is the one returned; the other nodes only run the stage's
command. They meet at an address that the first node stores with its flow run on the Prefect server.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.input import create_flow_run_input, delete_flow_run_input, read_flow_run_input
from prefect.settings import get_current_settings

from umgclip.errors import InputError
from umgclip.flows.dvc.failures import Unavailable
from umgclip.learning.nodes import Seat, own_address

ADDRESS = "UMGCLIP_NODE_ADDRESS"
_KEY = "umgclip-meeting"
_POLL_S = 2.0
_MEET_S = 3600.0  # the first node's downloads may take longer than the others'


@dataclass(frozen=True)
class Rendezvous:
    """The nodes that meet: this node's index among `count`, its flow run and that of the first node.

    `job` names the attempt if a flow run can have several: an address stored by another attempt is ignored.
    """

    count: int
    node: int
    run: UUID
    first: UUID
    job: str = ""

    def __str__(self) -> str:
        return f"node {self.node} of {self.count}"

    def take_seat(self, sleep: Callable[[float], None] = time.sleep) -> Seat:
        """Publish the meeting address as the first node, or wait for it as another node; return this node's seat.

        Raises:
            InputError: this machine cannot reach the first node's address.
            Unavailable: the first node has ended or publishes no address, or Prefect does not answer.
        """
        try:
            meeting = self._announce() if self.node == 0 else self._find_out(sleep)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self}: Prefect does not answer: {error}") from error
        return Seat(self.count, self.node, meeting["address"], meeting["port"], str(self.first))

    def _announce(self) -> dict[str, Any]:
        address = os.environ.get(ADDRESS, "").strip() or own_address(*_server())
        meeting = {"address": address, "port": _free_port(), "machine": socket.gethostname(), "job": self.job}
        with suppress(ObjectNotFound, PrefectHTTPStatusError):  # an earlier start of this run may have stored one
            delete_flow_run_input(_KEY, flow_run_id=self.run)
        create_flow_run_input(_KEY, meeting, flow_run_id=self.run)
        return meeting

    def _find_out(self, sleep: Callable[[float], None]) -> Mapping[str, Any]:
        deadline = time.monotonic() + _MEET_S
        with get_client(sync_client=True) as client:
            while time.monotonic() < deadline:
                meeting: Any = read_flow_run_input(_KEY, flow_run_id=self.first)
                if meeting is not None and meeting["job"] == self.job:
                    return self._checked(meeting)
                self._require_going_on(client)
                sleep(_POLL_S)
        raise Unavailable(
            f"{self}: expected the first node's address within {_MEET_S:g} s, got none; see the first node's log"
        )

    def _checked(self, meeting: Mapping[str, Any]) -> Mapping[str, Any]:
        if meeting["address"].startswith("127.") and meeting["machine"] != socket.gethostname():
            raise InputError(
                f"{ADDRESS}: expected an address of {meeting['machine']} that other machines reach, "
                f"got {meeting['address']}, with which it connects to Prefect; set the variable on that machine"
            )
        return meeting

    def _require_going_on(self, client: SyncPrefectClient) -> None:
        state = client.read_flow_run(self.first).state
        if state is not None and state.is_final():
            raise Unavailable(f"{self}: the first node has ended: {state.message or state.name}")


def job_of_this_pod() -> str:
    """Return the name of this pod's indexed Kubernetes job, taken from the host name; empty outside such a job."""
    index = os.environ.get("JOB_COMPLETION_INDEX", "").strip()
    return socket.gethostname().removesuffix(f"-{index}") if index else ""


def _server() -> tuple[str, int]:
    """Return host and port of the Prefect server, which all nodes can reach."""
    parts = urlsplit(get_current_settings().api.url or "")
    if not parts.hostname:
        raise InputError("PREFECT_API_URL: expected the server's address, through which nodes meet, got none; set it")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _free_port() -> int:
    """Return a TCP port of this machine that is free now."""
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
