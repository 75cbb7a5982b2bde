"""One request to a server and its reply, within limits that hold whatever the server does.

The time runs from the first byte sent to the last byte received, so a server that sends one byte a minute does not get
around it. The size counts after decompression, and never more than that is decompressed. Redirects are not followed:
the key is only for the server that the params name.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
import zlib
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

import httpx

_ZIPPED = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 47  # for zlib: the header says which of the two it is
_COMPLAINT_BYTES = 4096  # of the body of an error
_STOPPED = "the run ended before the answer came"


@dataclass(frozen=True)
class WireLimits:
    """The limits of one request: seconds in all, and bytes of the reply after decompression."""

    seconds: float
    reply_bytes: int


@dataclass(frozen=True)
class Raw:
    """The reply of the server, with the names of headers in lower case; the body of an error is cut."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def is_answer(self) -> bool:
        """True if the status is 200, so the body should be an answer."""
        return self.status == httpx.codes.OK


class WireError(Exception):
    """No reply came; `reason` is `unreachable`, `timeout`, `connection_lost`, `too_large` or `stopped`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Wire:
    """Connections to one server, for any thread; requests under way can be stopped."""

    def __init__(self, headers: dict[str, str], connections: int) -> None:
        """Start the thread that sends requests; no connection is opened yet.

        Args:
            headers: sent with every request.
            connections: the most that are open at once.
        """
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", **headers}, limits=limits, follow_redirects=False,
            timeout=None,  # noqa: S113 - `_post` has one for the whole request
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._going: set[Future[Raw]] = set()
        self._is_stopped, self._lock = False, threading.Lock()
        threading.Thread(target=_serve, args=(self._loop, self._http), daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def post(self, url: str, body: Any, limits: WireLimits) -> Raw:  # noqa: ANN401 - any JSON value
        """Send JSON and wait for the reply.

        Raises:
            WireError: there is no reply within the limits, or `stop` was called.
        """
        with self._lock:
            if self._is_stopped:
                raise WireError("stopped", _STOPPED)
            going = asyncio.run_coroutine_threadsafe(_post(self._http, url, body, limits), self._loop)
            self._going.add(going)
        try:
            return going.result()
        except CancelledError as error:
            raise WireError("stopped", _STOPPED) from error
        except TimeoutError as error:
            raise WireError("timeout", f"no answer within {limits.seconds:g} s") from error
        except (httpx.ConnectError, UnicodeError) as error:  # a malformed host name gives a UnicodeError
            raise WireError("unreachable", _root(error)) from error
        except httpx.RequestError as error:
            raise WireError("connection_lost", f"{type(error).__name__}: {error}") from error
        finally:
            self._going.discard(going)

    def stop(self) -> None:
        """Cancel the requests under way and refuse others until `resume`: each `post` raises a `WireError`."""
        with self._lock:
            self._is_stopped = True
            under_way = list(self._going)
        for going in under_way:
            going.cancel()

    def resume(self) -> None:
        """Send requests again that `post` is asked for after `stop`."""
        self._is_stopped = False


def _root(error: BaseException) -> str:
    """Return the message of the innermost error, which libraries wrap."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)


def _serve(loop: asyncio.AbstractEventLoop, http: httpx.AsyncClient) -> None:
    """Run the loop until it is stopped, then release its resources."""
    loop.run_forever()
    loop.run_until_complete(http.aclose())
    loop.close()


async def _post(http: httpx.AsyncClient, url: str, body: Any, limits: WireLimits) -> Raw:  # noqa: ANN401 - any JSON value
    async with asyncio.timeout(limits.seconds), http.stream("POST", url, json=body) as reply:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        if reply.status_code != httpx.codes.OK:
            return Raw(reply.status_code, headers, await _begin(reply))
        return Raw(reply.status_code, headers, await _whole(reply, limits.reply_bytes))


async def _begin(reply: httpx.Response) -> bytes:
    """Return the first bytes of the body, without decompression."""
    body = b""
    async for part in reply.aiter_raw(_COMPLAINT_BYTES):
        body += part
        if len(body) >= _COMPLAINT_BYTES:
            break
    return body[:_COMPLAINT_BYTES]


async def _whole(reply: httpx.Response, most: int) -> bytes:
    """Return the whole body, decompressed.

    Raises:
        WireError: it is too large, cut off, or compressed in another way than by gzip or deflate.
    """
    coding = reply.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if coding != "identity" and coding not in _ZIPPED:
        raise WireError("connection_lost", f"expected a reply that is not packed, or by gzip, got {coding[:40]!r}")
    unpack = None if coding == "identity" else zlib.decompressobj(_GZIP_OR_ZLIB)
    parts, raw, size = [], 0, 0
    async for part in reply.aiter_raw():
        raw += len(part)
        try:
            plain = part if unpack is None else unpack.decompress(part, most - size + 1)
        except zlib.error as error:
            raise WireError("connection_lost", f"the reply cannot be unpacked: {error}") from error
        size += len(plain)
        if max(raw, size) > most:
            raise WireError("too_large", f"expected at most max_reply_kb = {most >> 10} kB, got more")
        parts.append(plain)
    if unpack is not None and not unpack.eof:
        raise WireError("connection_lost", f"the reply is cut off: {raw} bytes of {coding}")
    return b"".join(parts)
