"""Fair sharing of limited resources: a client that holds much leaves room for the others."""

from __future__ import annotations

import ipaddress
from collections import Counter
from types import TracebackType

from umgclip.errors import UmgclipError


class BusyError(UmgclipError):
    """A resource is used up for now; the client can try again a little later."""


class ResourcePool:
    """A limited resource of which a client gets no more than stays free for the others.

    A single client gets up to half of it, two get a third each, and so on (dynamic thresholds, Choudhury and Hahne,
    1998). A client that holds nothing yet may take all that is free. Use it in one thread only.

    Attributes:
        what: name of the resource in errors.
        limit: the total amount.
        taken: the amount that clients hold.
    """

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        self.taken = 0
        self._held: Counter[str] = Counter()

    def take(self, client: str, amount: int, already: int = 0) -> None:
        """Take an amount for a client, or give back a negative amount.

        Args:
            client: the client that takes it.
            amount: how much to take.
            already: how much the same claim holds already.

        Raises:
            BusyError: less than the amount is free, or the client's other claims already hold its share.
        """
        free, others = self.limit - self.taken, self._held[client] - already
        if amount > free:
            raise BusyError(
                f"busy: {self.taken} of {self.limit} {self.what} are in use, {amount} more needed; try again later"
            )
        if amount > 0 and others and others + already + amount > free + already:
            held = others + already
            raise BusyError(
                f"busy: this client has {held} of {self.limit} {self.what}, {amount} more needed, {free} free; "
                "try again later"
            )
        self.taken += amount
        self._held[client] += amount
        if not self._held[client]:
            del self._held[client]


class Claim:
    """The amounts of pools that a request or a connection holds; a `with` block gives them back at its end."""

    def __init__(self, client: str) -> None:
        self.client = client
        self._amounts: Counter[ResourcePool] = Counter()

    def hold(self, pool: ResourcePool, amount: int) -> None:
        """Set the amount that this claim holds of a pool.

        Raises:
            BusyError: the pool cannot give that much at the moment.
        """
        pool.take(self.client, amount - self._amounts[pool], self._amounts[pool])
        self._amounts[pool] = amount

    def release(self) -> None:
        """Give everything back to the pools."""
        for pool in list(self._amounts):
            self.hold(pool, 0)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def network_of(address: str) -> str:
    """Return the network that identifies a client: an IPv4 address itself, or the /64 of an IPv6 address.

    Every household and every server has a whole /64.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
