"""Malformed requests by the hundred: each gets a status below 500 with a reason, and the memory stays what it was."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import random
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from umgclip.io.images import encode_jpeg, encode_png

pytestmark = pytest.mark.slow
REQUESTS = 600
GROWTH_MIB = 40  # the largest image of a request alone takes 1 MiB; allocators keep some
JSON = {"content-type": "application/json"}


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def picture() -> bytes:
    return encode_png(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def with_exif(kind: str) -> bytes:
    image = Image.fromarray(np.zeros((48, 64, 3), np.uint8))
    exif = image.getexif()
    exif[274], exif[271], exif[282] = 6, "maker", 1.5
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def png(width: int, height: int, content: bytes) -> bytes:
    """A PNG file whose header may lie."""
    data = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, part in ((b"IHDR", head), (b"IDAT", zlib.compress(content)), (b"IEND", b"")):
        data += struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    return data


@functools.cache
def truncated() -> bytes:
    """Rows of a large image that are cut off."""
    return png(2_000, 2_000, b"\0" * 5_000_000)


WHOLE = [
    picture(),
    encode_jpeg(np.zeros((48, 64, 3), np.uint8)),
    *(with_exif(kind) for kind in ("JPEG", "PNG", "WEBP")),
]


def damaged(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(WHOLE))
    for _ in range(rng.randint(1, 12)):
        data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)


IMAGES: list[Callable[[random.Random], Any]] = [
    damaged,
    lambda rng: b"",
    lambda rng: rng.randbytes(rng.randrange(2000)),
    lambda rng: b"\xff\xd8\xff" + rng.randbytes(200),  # called JPEG, and is none
    lambda rng: b"GIF89a" + rng.randbytes(100),
    lambda rng: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    lambda rng: png(rng.choice([0, 1, 20_000, 60_000, 2**31 - 1]), rng.choice([1, 20_000, 60_000]), b"\0" * 100),
    lambda rng: truncated(),
    lambda rng: rng.choice(WHOLE),
]
NUMBERS = [0, -1, 1, 0.5, 1e308, -1e308, 10**40, 10**400, 2**63, True, None, "1", [], {}, [1]]
TEXTS = ["", " ", "\0", "dog", "a" * 5000, "😀" * 50, "\u202e", "<script>", "{a} {}", "{", "%s", None, 1, [], {"a": 1}]
COUNTS = [
    "",
    "0",
    "o",
    "oooo",
    "P" * 100,
    "`" * 50,
    "~~~~",
    "04",
    "\x00",
    "é",
    "1" * 1000,
    None,
    5,
    [1, 2],
    "0" * 100_000,
]


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON."""
    kinds = [
        lambda: rng.choice(NUMBERS),
        lambda: rng.choice(TEXTS),
        lambda: rng.random() * 10.0 ** rng.randint(-300, 300),
    ]
    if depth < 4:
        kinds.append(lambda: [value(rng, depth + 1) for _ in range(rng.randrange(4))])
        kinds.append(lambda: {str(rng.choice(TEXTS)): value(rng, depth + 1) for _ in range(rng.randrange(4))})
    return rng.choice(kinds)()


def box(rng: random.Random) -> Any:
    return rng.choice([
        lambda: [rng.choice(NUMBERS) for _ in range(rng.choice([4, 4, 4, 3, 5, 0]))],
        lambda: [rng.uniform(-100, 200) for _ in range(4)],
        lambda: value(rng),
    ])()  # fmt: skip


def mask(rng: random.Random) -> Any:
    size = rng.choice([[48, 64], [64, 48], [0, 0], [-1, 5], [10**9, 10**9], [48.5, 64], "48", None, [48]])
    return rng.choice([
        lambda: {"size": size, "counts": rng.choice(COUNTS)},
        lambda: {"size": [48, 64], "counts": "".join(chr(rng.randrange(30, 130)) for _ in range(rng.randrange(60)))},
        lambda: text(rng.choice(IMAGES)(rng)),
        lambda: value(rng),
    ])()  # fmt: skip


def several(rng: random.Random, one: Callable[[random.Random], Any]) -> Any:
    return value(rng) if rng.random() < 0.2 else [one(rng) for _ in range(rng.choice([0, 1, 2, 3, 200]))]


def row(rng: random.Random) -> Any:
    if rng.random() < 0.1:
        return value(rng)
    image = rng.choice(IMAGES)(rng) if rng.random() < 0.5 else rng.choice(WHOLE)
    made: dict[str, Any] = {"image": value(rng) if rng.random() < 0.1 else text(image)}
    fields: dict[str, Callable[[], Any]] = {
        "labels": lambda: several(rng, lambda rng: rng.choice(TEXTS)),
        "boxes": lambda: several(rng, box),
        "masks": lambda: several(rng, mask),
        "tags": lambda: rng.choice(NUMBERS),
        "vocabulary": lambda: several(rng, lambda rng: rng.choice(TEXTS)),
        "similarity_map": lambda: value(rng),
        "region_embeddings": lambda: value(rng),
        "surprise": lambda: value(rng),
    }
    for name in rng.sample(list(fields), rng.randrange(4)):
        made[name] = fields[name]()
    return made


def body(rng: random.Random) -> bytes:
    content = [row(rng) for _ in range(rng.choice([0, 1, 2, 50]))] if rng.random() < 0.2 else row(rng)
    data = json.dumps(content, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    kind = rng.random()
    if kind < 0.1:  # cut off
        return data[: rng.randrange(len(data) + 1)]
    if kind < 0.2 and data:  # a byte changed
        data = bytearray(data)
        data[rng.randrange(len(data))] = rng.randrange(256)
    if kind > 0.95:
        return data.replace(b"0", b"NaN") if kind > 0.97 else b"[" * rng.choice([10, 100_000])
    return bytes(data)


@pytest.fixture(scope="module")
def served(start):
    return start("--max-body-mib", "2")


def test_no_malformed_request_is_a_500_and_memory_stays_flat(served):
    rng = random.Random(20)
    statuses: Counter[int] = Counter()

    def attack(count: int) -> None:
        for _ in range(count):
            data = body(rng)
            response = served.http.post("/predict", content=data, headers=JSON)
            statuses[response.status_code] += 1
            assert response.status_code < 500, (response.status_code, response.text[:300], data[:300])
            if response.status_code != 200:
                detail = response.json()["detail"]
                assert 5 < len(detail) < 600, detail
                assert "Traceback" not in detail
                assert 'File "' not in detail

    attack(REQUESTS // 3)  # what is loaded and cached at the first of each kind
    before = served.memory_mib()
    attack(REQUESTS)
    grown = served.memory_mib() - before

    assert grown < GROWTH_MIB, f"{grown:.0f} MiB more after {REQUESTS} requests"
    assert set(statuses) <= {200, 400, 413, 422}
    assert min(statuses[code] for code in (200, 400, 413, 422)) > 5, statuses
    assert served.health()["ready"]
    assert served.health()["queue"]["images"] == 0
    assert served.process.poll() is None
    assert "Traceback" not in served.said


def test_requests_that_are_no_http_or_end_early_do_no_harm(served):
    host, port = served.url.removeprefix("http://").split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    for sent in (
        b"",
        b"\0\1\2\3",
        b"GET / HTTP/9.9\r\n\r\n",
        head,
        head + b"Content-Length: -5\r\n\r\n",
        head + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        head + b"Content-Length: 500\r\n\r\n{",
        head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").read()
        assert not answer.startswith(b"HTTP/1.1 5"), (sent[:80], answer[:200])
    good = {"image": text(picture()), "labels": ["dog"]}
    assert served.http.post("/predict", json=good).status_code == 200
    assert served.health()["queue"]["images"] == 0


def test_a_body_without_end_is_cut_off(served):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 65536
            yield b" " * 65536

    # the server closes while bytes are on their way
    with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        assert served.http.post("/predict", content=endless(), headers=JSON).status_code == 413
    assert sent < 1 << 26
    assert served.health()["queue"]["images"] == 0


def one_bit(width: int, height: int) -> str:
    buffer = io.BytesIO()
    Image.new("1", (width, height), 1).save(buffer, "PNG")
    return text(buffer.getvalue())


def test_small_requests_for_much_work_are_refused_before_it(served):
    large, middle, small = one_bit(8000, 4000), one_bit(1500, 1500), text(picture())
    labels = [f"thing {index}" for index in range(32 * 256)]
    for content, said in (
        ([{"image": large}] * 32, "expected at most 128000000 pixels of images and masks together"),
        ([{"image": middle, "masks": [middle] * 100}] * 8, "expected at most 128000000 pixels"),
        (
            [{"image": small, "labels": labels[index * 256 :][:256]} for index in range(32)],
            "expected at most 512 different labels and concepts together, got 8192",
        ),
        ({"image": one_bit(32_000_000, 1)}, "expected sides of at most 65535 pixels, got 32000000 x 1"),
    ):
        response = served.http.post("/predict", json=content)
        assert response.status_code == 413, response.text[:300]
        assert said in response.json()["detail"]
    assert served.http.post("/predict", json={"image": large}).status_code == 200, "what a limit allows"
    assert served.health()["queue"]["images"] == 0


def test_after_a_503_nothing_goes_on(start):
    server = start("--answer-timeout-s", "0.5", "--max-total-megapixels", "2000")
    slow = {"image": one_bit(8000, 4000), "masks": [one_bit(8000, 4000)] * 50}
    response = server.http.post("/predict", json=slow)
    assert (response.status_code, response.json()["detail"]) == (503, "busy: no answer within 0.5 s")
    assert response.headers["retry-after"] == "1"
    whole = psutil.Process(server.process.pid)

    def busy_s() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in (whole, *whole.children(recursive=True)))

    until = time.monotonic() + 30
    while True:  # until a second of quiet; what would go on takes many
        before = busy_s()
        time.sleep(1)
        if busy_s() - before < 0.2:
            break
        assert time.monotonic() < until
    good = {"image": text(picture()), "labels": ["dog"]}
    assert server.http.post("/predict", json=good).status_code == 200
    assert server.health()["queue"]["images"] == 0
