"""Which of several machines this one is, and the way to the others."""

import os
import socket

import pytest

from umgclip.errors import InputError
from umgclip.learning.nodes import Seat, interface_of, own_address, read_seat, use_interface
from umgclip.train.launch import seat

VARIABLES = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "10.0.0.7", "PET_MASTER_PORT": "29500"}


def test_variables_give_a_seat_and_a_seat_its_variables() -> None:
    taken = read_seat({**VARIABLES, "PET_RDZV_ID": "run-7"})
    assert taken == Seat(2, 1, "10.0.0.7", 29500, "run-7")
    assert read_seat(taken.variables()) == taken
    assert (taken.endpoint, Seat(2, 0, "fd00::7", 1).endpoint) == ("10.0.0.7:29500", "[fd00::7]:1")
    assert read_seat({}) is None
    assert read_seat({**VARIABLES, "PET_NNODES": "1"}) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"PET_NNODES": "1:4"}, "PET_NNODES: expected a number, 1 or more, got '1:4'"),
        ({"PET_NODE_RANK": "2"}, "PET_NODE_RANK: expected a number, 0 to 1, got '2'"),
        ({"PET_NODE_RANK": ""}, "PET_NODE_RANK: expected a number, 0 to 1, got ''"),
        ({"PET_MASTER_PORT": "70000"}, "PET_MASTER_PORT: expected a number, 1 to 65535, got '70000'"),
        ({"PET_MASTER_ADDR": " "}, "PET_MASTER_ADDR: expected the first node's address, as PET_NNODES is 2, got none"),
    ],
)
def test_a_wrong_variable_is_named(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_seat({**VARIABLES, **wrong})


def test_torchrun_has_seen_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert seat() == Seat(2, 1, "10.0.0.7", 29500)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.setenv(name, "1")
    assert seat() is None


def test_the_way_to_another_machine_decides_address_and_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_address("127.0.0.1", 29500) == "127.0.0.1"
    (loopback,) = {name for _, name in socket.if_nameindex() if name.startswith("lo")}
    assert interface_of("127.0.0.1") == loopback
    assert interface_of("192.0.2.1") is None
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    use_interface("192.0.2.1")
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    use_interface("127.0.0.1")
    assert (os.environ["GLOO_SOCKET_IFNAME"], os.environ["NCCL_SOCKET_IFNAME"]) == (loopback, "ib0")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    with pytest.raises(InputError, match=r"no-such-host.invalid: expected a route to it"):
        own_address("no-such-host.invalid", 1)
