"""What stands before a request: the key, the kind and size of its body, the clock."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from umgclip.serve.metrics import Metrics
from umgclip.serve.shares import network_of

_PATHS = ("/", "/predict", "/health", "/health/live", "/metrics", "/docs", "/openapi.json")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
)


def is_known(key: str, keys: Sequence[str]) -> bool:
    """Whether a key is one of those that open the door. Takes as long for a wrong key as for the right one.

    Args:
        key: as it stood in a header, whose bytes are read as Latin-1; clients write what is not ASCII as UTF-8 or as
            Latin-1.
        keys: those that open.
    """
    given = _written(key)[-1]
    return any([hmac.compare_digest(given, form) for known in keys for form in _written(known)])


def _written(key: str) -> list[bytes]:
    """A text as UTF-8, and as Latin-1 where it can be."""
    forms = [key.encode("utf-8", "surrogateescape")]
    return [*forms, key.encode("latin-1")] if all(ord(sign) < 256 for sign in key) else forms


def client_of(request: Request, *, keyed: bool) -> str:
    """Whom a request is from, for what is shared out between clients: an address, and the key where there are keys.

    Behind a proxy on this machine the address is what it says in `X-Forwarded-For`; uvicorn's `FORWARDED_ALLOW_IPS`
    names other proxies to believe.
    """
    address = network_of(request.client.host) if request.client else ""
    if not keyed:
        return address
    key = key_of(request.headers.get("x-api-key"), request.headers.get("authorization"))
    return f"{address} {hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def key_of(header: str | None, authorization: str | None) -> str:
    """The key in `X-API-Key` or in `Authorization: Bearer`; empty when there is none."""
    if header:
        return header
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def read_body(request: Request, limit: int, timeout_s: float, hold: Callable[[int], None]) -> bytes:
    """The body, no byte more than allowed.

    Args:
        request: its body has not been read.
        limit: largest body in bytes.
        timeout_s: seconds until all of it must be there.
        hold: is told how many bytes there are so far, and may refuse.

    Raises:
        HTTPException: 415 for another type than JSON, 413 when it is too long, 408 when it does not arrive.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"content-type: expected application/json, got {kind[:80] or 'none'}")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise HTTPException(413, f"body: expected at most {limit} bytes, got {announced[:20]}")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise HTTPException(413, f"body: expected at most {limit} bytes, got more")
                hold(size)
                chunks.append(chunk)
    except TimeoutError as error:
        raise HTTPException(408, f"body: expected all of it within {timeout_s:g} s, got {size} bytes") from error
    return b"".join(chunks)


class RequestMonitor:
    """Counts and times every request, and adds the headers that keep a browser from being misled."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, code = time.perf_counter(), 499  # as nginx has it: who asked went away before an answer began
        bare = scope["method"] == "HEAD"
        if bare:  # FastAPI's routes know GET alone
            scope = {**scope, "method": "GET"}
        names = {name for name, _ in scope["headers"]}
        unread = bool(names & {b"content-length", b"transfer-encoding"})
        # an unknown path must not make a new time series
        path = scope["path"] if scope["path"] in _PATHS else "other"

        async def reading() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body", False))
            return message

        async def counted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                # what is left of a refused body would be read to its end, which need not come
                closing = [(b"connection", b"close")] if unread else []
                message["headers"] = [*message.get("headers", []), *_HEADERS, *closing]
            elif bare:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, reading, counted)
        except Exception:
            code = 500
            raise
        finally:
            self._metrics.requests.labels(path, str(code)).inc()
            if path == "/predict":
                self._metrics.seconds.observe(time.perf_counter() - began)
