"""uvicorn's HTTP/1.1 protocol with limits on connections, idle time, slow reading and tiny body chunks.

uvicorn itself has a timeout only for the pause between two requests. `umgclip.serve.guard` has the one for bodies.
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

BACKLOG = 128  # connections that the system queues; all are accepted at once, and each costs a file handle
_SPARE = 64  # file handles for files, the registry and the decoding processes
_FEWEST = 4
_CHUNKS, _CHUNK_BYTES = 1000, 256  # this many chunks of a body are fine; more must have this size on average
_LINGER_S = 1.0
_LEAST_BYTES = 1 << 16  # a slow reader must take this much between two checks
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_QUIET_S = 60.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bounds:
    """Limits that apply to each connection of the server.

    Attributes:
        pool: pool of connections, of which each connection takes one.
        head_s: seconds in which a request's head must arrive, counted from the connection or the last answer.
        send_s: seconds in which the client must read some of an answer.
    """

    pool: ResourcePool
    head_s: float
    send_s: float


class _Parser(h11.Connection):
    """Parser that refuses bodies in tiny chunks: chunks of one byte would cost 20 us each."""

    _chunks = _bytes = 0

    def next_event(self) -> Any:  # noqa: ANN401 - h11's events and sentinels share no base class
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += 1
            self._bytes += len(event.data)
            if self._chunks > _CHUNKS + self._bytes / _CHUNK_BYTES:
                raise h11.RemoteProtocolError("the body has too many small chunks")
        return event


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 connection that enforces the class attribute `bounds`."""

    bounds: Bounds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Count the connection; if there are too many, answer 503 and close it."""
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
        """Give the connection back to the pool and stop the timers."""
        self._claim.release()
        for timer in (self._clock, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the timer once a request has begun: its body and its answer have their own timeouts."""
        super().data_received(data)
        if self._in_request() and self._clock is not None:
            self._clock.cancel()

    def on_response_complete(self) -> None:
        """Start the timer for the head of the next request."""
        super().on_response_complete()
        if self.transport.is_closing():  # it ends when the client has read everything, which may be never
            self._watch_reading()
        elif not self._in_request():
            self._wait(self.bounds.head_s, self._no_head)

    def send_400_response(self, msg: str) -> None:
        """Send the answer 400, and limit the time that the client may take to read it."""
        super().send_400_response(msg)
        self._watch_reading()

    def pause_writing(self) -> None:
        """Start the check for a slow reader when the write buffer is full."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """Stop the check for a slow reader when the write buffer has drained."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _in_request(self) -> bool:
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

    def _reject(self, code: int, detail: str) -> None:
        """Write an answer without h11, which may be in the middle of a head, and close the connection."""
        body = json.dumps({"detail": detail}).encode()
        again = b"retry-after: 1\r\n" if code == 503 else b""
        title = {408: b"408 Request Timeout", 503: b"503 Service Unavailable"}[code]
        head = b"HTTP/1.1 " + title + b"\r\ncontent-type: application/json\r\n" + again
        self.transport.write(head + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()
        self._wait(_LINGER_S, self.transport.abort)

    def _watch_reading(self) -> None:
        """Cut off the client if it stops reading."""
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
    """Return the protocol class with these bounds; uvicorn makes an instance per connection."""
    return type("Bounded", (BoundedProtocol,), {"bounds": bounds})


def connection_limit(wanted: int) -> int:
    """Return how many connections this process has file handles for, after raising the system's soft limit.

    Args:
        wanted: number of connections to allow.

    Raises:
        InputError: there are handles for fewer than four.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # the backlog covers sockets that are accepted and not yet counted, or refused and not yet closed
    needed = len(list(Path("/dev/fd").iterdir())) + _SPARE + 3 * BACKLOG
    if soft != resource.RLIM_INFINITY and soft < wanted + needed:
        soft = wanted + needed if hard == resource.RLIM_INFINITY else min(hard, wanted + needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted + needed:
        return wanted
    if soft - needed < _FEWEST:
        raise InputError(
            f"ulimit -n: expected a limit of at least {needed + _FEWEST} open files, got {soft}; raise the limit"
        )
    _logger.warning(
        "--max-connections is %d, but ulimit -n of %d leaves room for %d connections", wanted, soft, soft - needed
    )
    return soft - needed


class LoopErrorHandler:
    """Exception handler of the event loop that logs a lack of file handles only once a minute.

    asyncio would log it with a traceback for every connection that it tries to accept, and it tries each second.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an exception that no task has handled."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED):
            loop.default_exception_handler(context)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _QUIET_S
            _logger.error("cannot accept connections: %s; the server tries again each second", error.strerror)
