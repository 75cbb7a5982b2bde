"""The machines of one training: this machine's rank, and how the others reach it.

The variables are torchrun's own (`PET_` and the option's name), which Kubeflow sets too.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from umgclip.errors import InputError

COUNT, NODE, ADDRESS, PORT, RUN = "PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_RDZV_ID"
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
_MOST_PORT = 65535


@dataclass(frozen=True)
class Seat:
    """The rank `node` of this machine among `count`; all meet at the first one's `address` and `port` as run `run`."""

    count: int
    node: int
    address: str
    port: int
    run: str = "umgclip"

    @property
    def endpoint(self) -> str:
        """The address where all machines meet, in torch's notation."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def variables(self) -> dict[str, str]:
        """Return the environment variables with which `umgclip train` takes this seat."""
        return {
            COUNT: str(self.count),
            NODE: str(self.node),
            ADDRESS: self.address,
            PORT: str(self.port),
            RUN: self.run,
        }


def read_seat(environment: Mapping[str, str] = os.environ) -> Seat | None:
    """Read the seat from the environment; return None if there is one machine only.

    Raises:
        InputError: one is missing, no number or out of range.
    """
    count = environment.get(COUNT, "").strip() or "1"
    if count == "1":
        return None
    number = _number(environment, COUNT, 1, None)
    node, port = _number(environment, NODE, 0, number - 1), _number(environment, PORT, 1, _MOST_PORT)
    address = environment.get(ADDRESS, "").strip()
    if not address:
        raise InputError(f"{ADDRESS}: expected the first node's address, as {COUNT} is {number}, got none; set it")
    return Seat(number, node, address, port, environment.get(RUN, "").strip() or Seat.run)


def _number(environment: Mapping[str, str], name: str, least: int, most: int | None) -> int:
    text = environment.get(name, "").strip()
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        up_to = "or more" if most is None else f"to {most}"
        raise InputError(f"{name}: expected a number, {least} {up_to}, got {text!r}")
    return int(text)


def own_address(host: str, port: int) -> str:
    """Return this machine's address on the route to another; nothing is sent.

    Raises:
        InputError: the other machine's name cannot be resolved, or there is no route to it.
    """
    try:
        family, kind, *_, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise InputError(
            f"{host}: expected a route to it from this machine, got none ({error}); check {ADDRESS}"
        ) from error


def interface_of(address: str) -> str | None:
    """Return the network interface with an address; None if it is not this machine's, as behind NAT."""
    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in entries):
            return str(name)
    return None


def use_interface(address: str) -> None:
    """Make gloo and NCCL use the interface of an address, unless the environment names one.

    By itself gloo takes the address that this machine's name resolves to, often that of loopback.
    """
    interface = interface_of(address)
    for name in _INTERFACES if interface else ():
        os.environ.setdefault(name, interface or "")
