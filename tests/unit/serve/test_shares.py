from __future__ import annotations

import pytest

from umgclip.serve.shares import BusyError, Claim, ResourcePool, network_of


def test_what_is_held_has_a_bound_and_is_given_back():
    pool = ResourcePool("places", 4)
    with Claim("a") as first, Claim("b") as second:
        first.hold(pool, 3)
        second.hold(pool, 1)
        with pytest.raises(BusyError, match="busy: 4 of 4 places are in use, 1 more needed"):
            second.hold(pool, 2)
        first.hold(pool, 1)
        second.hold(pool, 2)
        assert pool.taken == 3
    assert pool.taken == 0


def test_a_client_gets_half_and_leaves_room_for_another():
    pool = ResourcePool("places", 8)
    claims = [Claim("greedy") for _ in range(9)]
    for claim in claims[:4]:
        claim.hold(pool, 1)
    with pytest.raises(BusyError, match="busy: this client has 4 of 8 places, 1 more needed, 4 free"):
        claims[4].hold(pool, 1)
    other = Claim("modest")
    other.hold(pool, 1)
    other.release()
    claims[0].release()
    claims[4].hold(pool, 1)


def test_who_holds_nothing_may_take_all_that_is_free():
    pool = ResourcePool("places", 8)
    alone = Claim("a")
    for amount in (1, 5, 8):
        alone.hold(pool, amount)
    alone.release()
    assert pool.taken == 0


@pytest.mark.parametrize("share", [1, 2, 3, 7])
def test_however_many_are_greedy_a_newcomer_finds_a_place(share):
    pool = ResourcePool("places", 64)
    greedy = [Claim(f"client {index}") for index in range(3) for _ in range(64)]
    for claim in greedy:
        try:
            claim.hold(pool, share)
        except BusyError:
            claim.release()
    before = pool.taken
    Claim("newcomer").hold(pool, share)
    assert pool.taken == before + share <= 64


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_its_address_or_its_network(address, network):
    assert network_of(address) == network
