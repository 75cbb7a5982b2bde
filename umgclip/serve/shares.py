"""What all requests share, in portions: whoever asks for much leaves room for who asks for little."""

from __future__ import annotations

import ipaddress
from collections import Counter
from types import TracebackType

from umgclip.errors import UmgclipError


class BusyError(UmgclipError):
    """More is asked for than may be under way; asking again a little later helps."""


class ResourcePool:
    """An amount of something, of which a client that holds some gets no more than what stays free for the others.

    A lone client comes to half of it, two to a third each, and so on (dynamic thresholds, Choudhury and Hahne, 1998);
    whoever holds nothing yet may take all that is free. Belongs to one thread.

    Attributes:
        what: in errors.
        limit: the amount.
        taken: how much of it is held.
    """

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        self.taken = 0
        self._held: Counter[str] = Counter()

    def take(self, client: str, amount: int, own: int = 0) -> None:
        """Take something, or give back a negative amount.

        Args:
            client: who.
            amount: how much.
            own: what the same claim holds already.

        Raises:
            BusyError: there is not so much, or the client's other claims hold its share already.
        """
        free, others = self.limit - self.taken, self._held[client] - own
        if amount > free:
            raise BusyError(f"busy: {self.taken} of {self.limit} {self.what} are taken, {amount} more wanted")
        if amount > 0 and others and others + own + amount > free + own:
            held = others + own
            raise BusyError(
                f"busy: this client has {held} of {self.limit} {self.what}, {amount} more wanted, {free} are free"
            )
        self.taken += amount
        self._held[client] += amount
        if not self._held[client]:
            del self._held[client]


class Claim:
    """What one request, or connection, holds of pools; given back at its end."""

    def __init__(self, client: str) -> None:
        self.client = client
        self._amounts: Counter[ResourcePool] = Counter()

    def hold(self, pool: ResourcePool, amount: int) -> None:
        """Hold so much of a pool from now on.

        Raises:
            BusyError: there is not so much.
        """
        pool.take(self.client, amount - self._amounts[pool], self._amounts[pool])
        self._amounts[pool] = amount

    def release(self) -> None:
        """Give everything back."""
        for pool in list(self._amounts):
            self.hold(pool, 0)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def network_of(address: str) -> str:
    """Who a client is, by its address: of IPv6 the /64, for every household and every server has a whole one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
