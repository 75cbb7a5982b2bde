from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from fastapi import HTTPException, Request

from umgclip.serve.guard import is_known, key_of, read_body


def request(chunks: list[bytes], headers: dict[str, str] | None = None) -> Request:
    """Return a request whose body comes in chunks; it never ends if the last chunk is b""."""
    left: Iterator[bytes] = iter(chunks)

    async def receive() -> dict:
        chunk = next(left)
        if chunk == b"":
            await asyncio.sleep(60)
        return {"type": "http.request", "body": chunk, "more_body": chunk != chunks[-1]}

    named = {"content-type": "application/json", **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def read(asked: Request, limit: int = 10, timeout_s: float = 5) -> bytes:
    return asyncio.run(read_body(asked, limit, timeout_s, lambda size: None))


def test_a_body_is_read_whole():
    assert read(request([b"12345", b"67890"])) == b"1234567890"


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_may_name_its_encoding(kind):
    assert read(request([b"{}"], {"content-type": kind})) == b"{}"


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "x" * 500])
def test_another_type_is_415(kind):
    with pytest.raises(HTTPException) as refused:
        read(request([b"{}"], {"content-type": kind}))
    assert refused.value.status_code == 415
    assert f"expected application/json, got {kind[:80] or 'none'}" in refused.value.detail
    assert len(refused.value.detail) < 200


def test_a_body_announced_too_long_is_413_before_a_byte_is_read():
    with pytest.raises(HTTPException) as refused:
        read(request([b""], {"content-length": "11"}))
    assert (refused.value.status_code, refused.value.detail) == (413, "body: expected at most 10 bytes, got 11")


@pytest.mark.parametrize("announced", [{}, {"content-length": "3"}])
def test_a_body_that_turns_out_too_long_is_413(announced):
    with pytest.raises(HTTPException) as refused:
        read(request([b"123456", b"7890ab", b""], announced))
    assert (refused.value.status_code, refused.value.detail) == (413, "body: expected at most 10 bytes, got more")


def test_a_body_that_does_not_arrive_is_408():
    with pytest.raises(HTTPException) as refused:
        read(request([b"123", b""]), timeout_s=0.1)
    assert refused.value.status_code == 408
    assert refused.value.detail == "body: expected all of it within 0.1 s, got 3 bytes"


@pytest.mark.parametrize(
    ("header", "authorization", "key"),
    [
        ("a", None, "a"),
        ("a", "Bearer b", "a"),
        (None, "Bearer b", "b"),
        (None, "bearer  b ", "b"),
        (None, "Basic b", ""),
        (None, "b", ""),
        (None, None, ""),
    ],
)
def test_the_key_is_found_in_either_header(header, authorization, key):
    assert key_of(header, authorization) == key


KEYS = ("first-key", "second-kéy", "пароль")


@pytest.mark.parametrize(
    "sent", [b"first-key", "second-kéy".encode(), "second-kéy".encode("latin-1"), "пароль".encode()]
)
def test_every_key_opens_the_door_however_it_is_written(sent):
    assert is_known(sent.decode("latin-1"), KEYS)  # as every server hands on the bytes of a header


@pytest.mark.parametrize(
    "key", ["", "first-ke", "first-keyy", "FIRST-KEY", "\udcff", "first-key,second-kéy", "second-k?y", "??????"]
)
def test_nothing_else_does(key):
    assert not is_known(key, KEYS)
