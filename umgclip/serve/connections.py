"""uvicorn's HTTP/1.1, with a bound to what clients may hold open: connections, silence, slow reading, crumbs.

uvicorn has a clock for the pause between two requests alone. Bodies have theirs in `umgclip.serve.guard`.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from umgclip.errors import InputError
from umgclip.serve.shares import BusyError, Claim, ResourcePool, network_of

BACKLOG = 128  # connections that the system keeps for us; accepted in one go, and each costs a handle
_SPARE = 64  # handles for files, the registry and the processes that decode
_FEWEST = 4
_CRUMBS, _CRUMB_BYTES = 1000, 256  # so many pieces of a body are fine; more must have this size on average
_LINGER_S = 1.0
_LEAST_BYTES = 1 << 16  # that a slow reader takes each time that it is looked at
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_QUIET_S = 60.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bounds:
    """What a connection may do.

    Attributes:
        pool: of which each connection is one.
        head_s: seconds until a request's head must be there, from the connection or the last answer on.
        send_s: seconds in which some of an answer must be read.
    """

    pool: ResourcePool
    head_s: float
    send_s: float


class _Parser(h11.Connection):
    """Refuses bodies in crumbs: chunks of one byte would cost 20 us each."""

    _pieces = _bytes = 0

    def next_event(self) -> Any:  # noqa: ANN401 - h11's events and sentinels share no base class
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces > _CRUMBS + self._bytes / _CRUMB_BYTES:
                raise h11.RemoteProtocolError("the body comes in too many pieces")
        return event


class BoundedProtocol(H11Protocol):
    """One connection."""

    bounds: Bounds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a place; without one the answer is 503, and the end."""
        super().connection_made(transport)
        self.conn = _Parser(h11.SERVER, self.conn._max_incomplete_event_size)  # noqa: SLF001 - what uvicorn gave it
        self._clock: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._claim = Claim(network_of(self.client[0]) if self.client else "")
        try:
            self._claim.hold(self.bounds.pool, 1)
        except BusyError as error:
            self._reject(503, str(error))
        else:
            self._wait(self.bounds.head_s, self._no_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._claim.release()
        for timer in (self._clock, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A request that is under way has clocks of its own, for its body and its answer."""
        super().data_received(data)
        if self._is_asked() and self._clock is not None:
            self._clock.cancel()

    def on_response_complete(self) -> None:
        """The next request's head may take as long as the first's."""
        super().on_response_complete()
        if self.transport.is_closing():  # which ends when everything is read, if ever
            self._watch_reading()
        elif not self._is_asked():
            self._wait(self.bounds.head_s, self._no_head)

    def send_400_response(self, msg: str) -> None:
        """Say it, and do not wait for ever until it is read."""
        super().send_400_response(msg)
        self._watch_reading()

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _is_asked(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._clock = self.loop.call_later(seconds, then)

    def _no_head(self) -> None:
        if self.transport.get_write_buffer_size():  # the last answer is still being read
            self._watch_reading()
            self._wait(self.bounds.head_s, self._no_head)
            return
        begun = bool(self.conn.trailing_data[0])
        if begun and not self.transport.is_closing():
            self._reject(408, f"expected a request's head within {self.bounds.head_s:g} s")
        else:
            self.transport.close()
            self._wait(_LINGER_S, self.transport.abort)

    def _reject(self, code: int, said: str) -> None:
        """An answer past h11, which may be in the middle of a head."""
        body = json.dumps({"detail": said}).encode()
        again = b"retry-after: 1\r\n" if code == 503 else b""
        title = {408: b"408 Request Timeout", 503: b"503 Service Unavailable"}[code]
        head = b"HTTP/1.1 " + title + b"\r\ncontent-type: application/json\r\n" + again
        self.transport.write(head + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()
        self._wait(_LINGER_S, self.transport.abort)

    def _watch_reading(self) -> None:
        """Cut off a client that does not go on reading."""
        if self._reading is not None or not (before := self.transport.get_write_buffer_size()):
            return

        def look() -> None:
            self._reading = None
            left = self.transport.get_write_buffer_size()
            if left and before - left < _LEAST_BYTES:
                self.transport.abort()
            self._watch_reading()

        self._reading = self.loop.call_later(self.bounds.send_s, look)


def bounded_protocol(bounds: Bounds) -> type[BoundedProtocol]:
    """The protocol with these bounds, for uvicorn, which makes one for each connection."""
    return type("Bounded", (BoundedProtocol,), {"bounds": bounds})


def connection_limit(wanted: int) -> int:
    """How many connections this process has file handles for; the system's soft limit is raised first.

    Args:
        wanted: how many there should be.

    Raises:
        InputError: hardly any.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # sockets that are accepted and not yet counted, or refused and not yet closed
    needed = len(list(Path("/dev/fd").iterdir())) + _SPARE + 3 * BACKLOG
    if soft != resource.RLIM_INFINITY and soft < wanted + needed:
        soft = wanted + needed if hard == resource.RLIM_INFINITY else min(hard, wanted + needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted + needed:
        return wanted
    if soft - needed < _FEWEST:
        raise InputError(f"expected a limit of open files of at least {needed + _FEWEST} (ulimit -n), got {soft}")
    _logger.warning("%d connections at most, for ulimit -n is %d; asked for were %d", soft - needed, soft, wanted)
    return soft - needed


class LoopErrorHandler:
    """The event loop's way to tell of what nobody caught: running out of handles it says once a minute.

    asyncio tells of it for every connection that it would accept in one go, with a traceback, and tries again each
    second.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Say what happened."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED):
            loop.default_exception_handler(context)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _QUIET_S
            _logger.error("cannot accept connections: %s; it is tried again each second", error.strerror)
