"""One node among several that compute a stage together: where they meet, and what all but the first of them run.

The first node's worker runs `dvc repro`, so its result is the one that comes back; the others run the stage's command
beside it. They meet at an address that the first one leaves with its flow run on the Prefect server.
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

from flows.dvc.failures import Unavailable
from umgclip.errors import InputError
from umgclip.learning.nodes import Seat, own_address

ADDRESS = "UMGCLIP_NODE_ADDRESS"
_KEY = "umgclip-meeting"
_POLL_S = 2.0
_MEET_S = 3600.0  # the first node may download longer than the others


@dataclass(frozen=True)
class Rendezvous:
    """Who meets: this node's number among `count`, this node's flow run and that of the first node.

    `job` names the attempt where a flow run can have several: an address that another one left is not taken.
    """

    count: int
    node: int
    run: UUID
    first: UUID
    job: str = ""

    def __str__(self) -> str:
        return f"node {self.node} of {self.count}"

    def take_seat(self, sleep: Callable[[float], None] = time.sleep) -> Seat:
        """Say where to meet as the first node, or find out where as one of the others.

        Raises:
            InputError: the first node's address leads nowhere from here.
            Unavailable: the first node has ended or does not say, or Prefect does not answer.
        """
        try:
            told = self._announce() if self.node == 0 else self._find_out(sleep)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self}: Prefect does not answer: {error}") from error
        return Seat(self.count, self.node, told["address"], told["port"], str(self.first))

    def _announce(self) -> dict[str, Any]:
        address = os.environ.get(ADDRESS, "").strip() or own_address(*_server())
        told = {"address": address, "port": _free_port(), "machine": socket.gethostname(), "job": self.job}
        with suppress(ObjectNotFound, PrefectHTTPStatusError):  # an earlier start of this run has left one
            delete_flow_run_input(_KEY, flow_run_id=self.run)
        create_flow_run_input(_KEY, told, flow_run_id=self.run)
        return told

    def _find_out(self, sleep: Callable[[float], None]) -> Mapping[str, Any]:
        deadline = time.monotonic() + _MEET_S
        with get_client(sync_client=True) as client:
            while time.monotonic() < deadline:
                told: Any = read_flow_run_input(_KEY, flow_run_id=self.first)
                if told is not None and told["job"] == self.job:
                    return self._checked(told)
                self._require_going_on(client)
                sleep(_POLL_S)
        raise Unavailable(
            f"node {self.node} of {self.count}: the first node did not say within {_MEET_S:g} s where it is"
        )

    def _checked(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        if told["address"].startswith("127.") and told["machine"] != socket.gethostname():
            raise InputError(
                f"{ADDRESS}: expected an address of {told['machine']} that other machines reach, "
                f"got {told['address']}, by which it speaks to Prefect; set the variable there"
            )
        return told

    def _require_going_on(self, client: SyncPrefectClient) -> None:
        state = client.read_flow_run(self.first).state
        if state is not None and state.is_final():
            raise Unavailable(
                f"node {self.node} of {self.count}: the first node has ended: {state.message or state.name}"
            )


def job_of_this_pod() -> str:
    """The indexed job of Kubernetes that this pod is of, by its host name; empty elsewhere."""
    index = os.environ.get("JOB_COMPLETION_INDEX", "").strip()
    return socket.gethostname().removesuffix(f"-{index}") if index else ""


def _server() -> tuple[str, int]:
    """Host and port of the Prefect server, which all nodes reach."""
    parts = urlsplit(get_current_settings().api.url or "")
    if not parts.hostname:
        raise InputError("PREFECT_API_URL: expected the server's address, as nodes meet through it, got none")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
