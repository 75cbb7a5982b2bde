"""Checks before a request is processed: its API key, the type and size of its body, and the time that it takes."""

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
    """Return whether a key is one of the server's keys, in the same time for a wrong key as for a right one.

    Args:
        key: the key in a header, whose bytes are read as Latin-1; clients send characters outside ASCII as UTF-8 or as
            Latin-1.
        keys: the server's keys.
    """
    given = _encodings(key)[-1]
    return any([hmac.compare_digest(given, form) for known in keys for form in _encodings(known)])


def _encodings(key: str) -> list[bytes]:
    """Encode a text as UTF-8, and also as Latin-1 if possible."""
    forms = [key.encode("utf-8", "surrogateescape")]
    return [*forms, key.encode("latin-1")] if all(ord(sign) < 256 for sign in key) else forms


def client_of(request: Request, *, keyed: bool) -> str:
    """Return the client of a request, for sharing resources: its address, and a hash of its key if keys are in use.

    Behind a proxy on this machine the address is the one in `X-Forwarded-For`; uvicorn's `FORWARDED_ALLOW_IPS` names
    other trusted proxies.
    """
    address = network_of(request.client.host) if request.client else ""
    if not keyed:
        return address
    key = key_of(request.headers.get("x-api-key"), request.headers.get("authorization"))
    return f"{address} {hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def key_of(header: str | None, authorization: str | None) -> str:
    """Return the key in `X-API-Key` or in `Authorization: Bearer`; empty if there is none."""
    if header:
        return header
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def read_body(request: Request, limit: int, timeout_s: float, hold: Callable[[int], None]) -> bytes:
    """Read the body of a request up to a limit of bytes and of time.

    Args:
        request: a request whose body has not been read.
        limit: largest body in bytes.
        timeout_s: seconds in which the whole body must arrive.
        hold: called with the number of bytes so far; may raise to refuse the body.

    Raises:
        HTTPException: 415 if the type is not JSON, 413 if the body is too long, 408 if it does not arrive in time.
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
    """ASGI middleware that counts and times requests, and adds security headers to the answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and record its path, status and time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, code = time.perf_counter(), 499  # nginx's code for a client that left before the answer began
        bare = scope["method"] == "HEAD"
        if bare:  # FastAPI's routes accept only GET
            scope = {**scope, "method": "GET"}
        names = {name for name, _ in scope["headers"]}
        unread = bool(names & {b"content-length", b"transfer-encoding"})
        # an unknown path must not create a new time series
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
                # otherwise the server would read the rest of a refused body, which may never end
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
