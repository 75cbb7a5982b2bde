"""One request to a server and its reply, within limits that hold whatever the server does.

The time counts from the first byte out to the last byte in, so a server that sends one byte a minute is no exception;
the size counts after unpacking, and no more than that is ever unpacked. Redirects are not followed: the key is for the
server that the params name.
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
_GZIP_OR_ZLIB = 47  # for zlib: the header tells which of them it is
_COMPLAINT_BYTES = 4096  # of a reply that is none


@dataclass(frozen=True)
class Limits:
    """Of one request: seconds in all, and bytes of the reply as they are unpacked."""

    seconds: float
    reply_bytes: int


@dataclass(frozen=True)
class Raw:
    """What came back; the body is cut where the status is no success. `headers`: names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def is_answer(self) -> bool:
        """Whether the server says that it is one."""
        return self.status == httpx.codes.OK


class WireError(Exception):
    """No reply: `unreachable`, `timeout`, `connection_lost`, `too_large` or `stopped`, and in detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Wire:
    """Connections to one server, from any thread; what is on its way can be stopped."""

    def __init__(self, headers: dict[str, str], connections: int) -> None:
        """Open nothing yet.

        Args:
            headers: of every request.
            connections: at once.
        """
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", **headers}, limits=limits, follow_redirects=False,
            timeout=None,  # noqa: S113 - `_post` has one for all of it
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._going: set[Future[Raw]] = set()
        threading.Thread(target=_serve, args=(self._loop, self._http), daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def post(self, url: str, body: Any, limits: Limits) -> Raw:  # noqa: ANN401 - any JSON value
        """Send JSON and wait for the reply.

        Raises:
            WireError: there is none within the limits, or `stop` was called.
        """
        going = asyncio.run_coroutine_threadsafe(_post(self._http, url, body, limits), self._loop)
        self._going.add(going)
        try:
            return going.result()
        except CancelledError as error:
            raise WireError("stopped", "the run ended before the answer came") from error
        except TimeoutError as error:
            raise WireError("timeout", f"no answer within {limits.seconds:g} s") from error
        except (httpx.ConnectError, UnicodeError) as error:  # a name that is none is a UnicodeError
            raise WireError("unreachable", _root(error)) from error
        except httpx.RequestError as error:
            raise WireError("connection_lost", f"{type(error).__name__}: {error}") from error
        finally:
            self._going.discard(going)

    def stop(self) -> None:
        """Break off what is on its way; whoever waits for it is told so."""
        for going in list(self._going):
            going.cancel()


def _root(error: BaseException) -> str:
    """What the system said, which libraries wrap."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)


def _serve(loop: asyncio.AbstractEventLoop, http: httpx.AsyncClient) -> None:
    """Run the loop until it is stopped, then give back what it holds."""
    loop.run_forever()
    loop.run_until_complete(http.aclose())
    loop.close()


async def _post(http: httpx.AsyncClient, url: str, body: Any, limits: Limits) -> Raw:  # noqa: ANN401 - any JSON value
    async with asyncio.timeout(limits.seconds), http.stream("POST", url, json=body) as reply:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        if reply.status_code != httpx.codes.OK:
            return Raw(reply.status_code, headers, await _begin(reply))
        return Raw(reply.status_code, headers, await _whole(reply, limits.reply_bytes))


async def _begin(reply: httpx.Response) -> bytes:
    """The first bytes, as they came."""
    said = b""
    async for part in reply.aiter_raw(_COMPLAINT_BYTES):
        said += part
        if len(said) >= _COMPLAINT_BYTES:
            break
    return said[:_COMPLAINT_BYTES]


async def _whole(reply: httpx.Response, most: int) -> bytes:
    """All of a body, unpacked."""
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
