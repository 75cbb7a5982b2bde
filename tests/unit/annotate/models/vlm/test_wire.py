"""Servers that send no reply, one without end, or what only looks like one: it costs its sample, and little memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.unit.annotate.models.vlm.conftest import RawServer, http, said
from umgclip.annotate.models.vlm.annotator import Vlm
from umgclip.annotate.models.vlm.client import Client
from umgclip.annotate.models.vlm.wire import Wire, WireError, WireLimits
from umgclip.annotate.rejected import Failure
from umgclip.errors import InputError, UmgclipError
from umgclip.params.annotators import VlmParams

CAT = b'{"choices": [{"message": {"content": "{\\"caption\\": \\"a cat\\"}"}}]}'
IMAGE = np.zeros((40, 40, 3), np.uint8)
ROLES: dict[str, list[Any]] = {"caption_images": [[]], "tag_images": [""], "propose_images": [""]}


def vlm(server: RawServer, **more: Any) -> Vlm:
    return Vlm(VlmParams(url=server.url, model="m", **({"retries": 0, "timeout_s": 20.0} | more)), "annotate.models.v")


def caption(server: RawServer, **more: Any) -> Any:
    return vlm(server, **more).caption_images([IMAGE], [[]])[0]


def deep(count: int) -> bytes:
    return b"[" * count + b"]" * count


REPLIES = {
    "nothing": b"", "no_http": b"\x00\xff" * 50, "no_status": b"HTTP/1.1\r\n\r\n",
    "status": http(b"{}", status="999 X"),
    "empty": http(b""), "null": http(b"null"), "list": http(b"[]"), "number": http(b"5"), "text": http(b'"x"'),
    "latin": http(b'{"choices":[{"message":{"content":"\xff\xfe"}}]}'),
    "utf16": http(CAT.decode().encode("utf-16"))[:-1],
    "deep": http(deep(100_000)), "digits": http(b'{"choices":' + b"9" * 1_000_000 + b"}"),
    "choices_null": http(b'{"choices":null}'), "choices_object": http(b'{"choices":{}}'),
    "choices_none": http(b'{"choices":[]}'), "choices_lists": http(b'{"choices":[[]]}'),
    "message_null": http(b'{"choices":[{"message":null}]}'), "message_list": http(b'{"choices":[{"message":[]}]}'),
    "content_null": said(None), "content_number": said(5), "content_true": said(True), "content_object": said({}),
    "content_parts": said([{"type": "text", "text": None}, {"text": 5}, None, [["x"]]]),
    "content_deep": http(b'{"choices":[{"message":{"content":{"caption":' + deep(900) + b"}}}]}"),
    "content_digits": http(b'{"choices":[{"message":{"content":{"caption":' + b"9" * 4300 + b"}}}]}"),
    "refusal_digits": http(b'{"choices":[{"message":{"refusal":' + b"9" * 4200 + b"}}]}"),
    "refusal_half": http(b'{"choices":[{"message":{"refusal":"\\ud800"}}]}'),
    "error_list": http(b'{"error":{"message":[]}}'),
    "quotes": said('{"caption": ' + '\\"' * 60_000), "commas": said('{"a": 1' + ", " * 60_000),
    "open": said("{" * 130_000),
    "sum": said("['a', " + "1+" * 60_000 + "1]"), "minus": said("['a', " + "-" * 120_000 + "1]"),
    "thinks": said("<think>" * 16_000), "dots": said("." * 130_000), "unhashable": said("{'a': {[]: 1}}"),
    "no_gzip": http(CAT, "Content-Encoding: gzip"), "cut_gzip": http(gzip.compress(CAT)[:20], "Content-Encoding: gzip"),
    "two_gzips": http(gzip.compress(gzip.compress(CAT)), "Content-Encoding: gzip, gzip"),
    "unknown_coding": http(CAT, "Content-Encoding: lzma"), "brotli": http(CAT, "Content-Encoding: br"),
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
    "negative": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "bad_chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "long_header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", "no_body": b"HTTP/1.1 204 No\r\n\r\n",
    "later": http(b"{}", "Retry-After: " + "9" * 5000, status="503 Busy"),
    "half": http(b"", "Retry-After: \xb2", status="429 X"),
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n", "switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", REPLIES)
def test_a_malformed_reply_costs_its_sample_alone(raw_server: RawServer, name: str) -> None:
    raw_server.reply = REPLIES[name]
    model = vlm(raw_server)
    for role, captions in ROLES.items():
        (failure,) = getattr(model, role)([IMAGE], captions)
        assert isinstance(failure, Failure), (role, failure)
        assert failure.detail.isprintable()
        assert len(failure.detail) < 500


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_packed_reply_is_read(raw_server: RawServer, coding: str) -> None:
    packed = gzip.compress(CAT) if coding == "gzip" else zlib.compress(CAT)
    raw_server.reply = http(packed, f"Content-Encoding: {coding}")
    assert caption(raw_server)[0].text == "a cat"
    assert b"\r\naccept-encoding: identity\r\n" in raw_server.asked[0].lower()


def test_of_a_packed_reply_no_more_is_unpacked_than_may_be_read(raw_server: RawServer) -> None:
    raw_server.reply = http(gzip.compress(b" " * (200 << 20), 9), "Content-Encoding: gzip")
    model = vlm(raw_server, max_reply_kb=512)
    tracemalloc.start()
    try:
        (failure,) = model.caption_images([IMAGE], [[]])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failure == Failure("too_large", "expected at most max_reply_kb = 512 kB, got more")
    assert peak < 8 << 20


@pytest.mark.parametrize("begin", [b"", http(CAT)[:60]], ids=["in_the_headers", "in_the_body"])
def test_a_server_that_sends_a_byte_now_and_then_is_a_time_out(raw_server: RawServer, begin: bytes) -> None:
    raw_server.reply = begin + b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000
    raw_server.pause_s = 0.01
    assert caption(raw_server, timeout_s=0.3) == Failure("timeout", "no answer within 0.3 s")


def test_the_key_goes_to_no_other_server(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "hunter2")
    other = RawServer()
    try:
        raw_server.reply = http(b"", f"Location: {other.url}?key=hunter2", status="307 Temporary Redirect")
        with pytest.raises(UmgclipError, match=r"answers 307 .*leads to http://127.0.0.1:\d+/v1\?key=\*\*\*, where no"):
            caption(raw_server, api_key_env="SOME_KEY")
    finally:
        other.close()
    assert not other.asked
    assert len(raw_server.asked) == 1


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized"])
def test_a_complaint_is_cut_and_does_not_repeat_the_key(
    raw_server: RawServer, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setenv("SOME_KEY", "hunter2")
    raw_server.reply = http(b"bad key hunter2 \x1b[31m" + b"x" * 10_000_000, status=status)
    try:
        said = caption(raw_server, api_key_env="SOME_KEY").detail
    except UmgclipError as error:
        said = str(error)
    assert "bad key *** \\x1b[31mxxx" in said
    assert "hunter2" not in said
    assert len(said) < 400


def test_what_waits_for_an_answer_is_told_to_stop(raw_server: RawServer) -> None:
    wire, heard = Wire({}, 1), []
    raw_server.reply, raw_server.pause_s = b"HTTP/1.1 200 OK\r\n" * 1000, 0.01

    def wait() -> None:
        with pytest.raises(WireError) as error:
            wire.post(raw_server.url, {}, WireLimits(60.0, 1000))
        heard.append(error.value.reason)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not raw_server.asked:
        time.sleep(0.001)
    wire.stop()
    waiting.join(20)
    wait()
    assert heard == ["stopped", "stopped"]

    raw_server.reply = http(CAT)
    wire.resume()
    assert wire.post(raw_server.url, {}, WireLimits(60.0, 1000)).status == 200


def test_a_request_that_is_just_sent_is_stopped_too(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, sent, going = Wire({}, 1), threading.Event(), asyncio.run_coroutine_threadsafe
    raw_server.reply, raw_server.pause_s = b"HTTP/1.1 200 OK\r\n" * 1000, 0.01

    def slowly(*args: Any) -> Any:
        future = going(*args)
        sent.set()
        time.sleep(0.2)
        return future

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", slowly)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wire.post, raw_server.url, {}, WireLimits(60.0, 1000))
        assert sent.wait(20)
        wire.stop()
        with pytest.raises(WireError, match="the run ended before the answer came"):
            waiting.result(20)


@pytest.mark.parametrize("url", ["http://[::1", "http://h:x", "http://h:99999", "http:///v1", "http://\N{SNOWMAN}/"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(InputError, match=r"^annotate.models.v.url: expected http://HOST:PORT/v1, got 'http://"):
        Client(VlmParams(url=url, model="m"), "annotate.models.v")


def test_a_name_that_no_network_knows_ends_the_run() -> None:
    model = Vlm(VlmParams(url=f"http://{'a' * 70}.invalid", model="m", retries=0), "annotate.models.v")
    with pytest.raises(UmgclipError, match=r"no answer from http://a+.invalid in 1 tries"):
        model.caption_images([IMAGE], [[]])


def test_a_key_that_no_header_holds_is_named_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "schl\xfcssel")
    with pytest.raises(InputError, match=r"api_key_env: expected the variable SOME_KEY .* printable ASCII$") as error:
        Client(VlmParams(url="http://h", model="m", api_key_env="SOME_KEY"), "annotate.models.v")
    assert "ssel" not in str(error.value)


def test_a_key_may_end_in_a_line_break(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "hunter2\n")
    raw_server.reply = http(json.dumps({"choices": [{"message": {"content": {"caption": "a cat"}}}]}).encode())
    assert caption(raw_server, api_key_env="SOME_KEY")[0].text == "a cat"
    assert b"bearer hunter2\r\n" in raw_server.asked[0].lower()
