"""The protocol around a small application, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from umgclip.serve.connections import Bounds, LoopErrorHandler, bounded_protocol
from umgclip.serve.shares import ResourcePool

LARGE = 64 << 20
HEAD = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"


async def app(scope, receive, send) -> None:
    """Answer `/small`, `/large` and `/late`; for a request with a body, answer its length."""
    size = 0
    while scope["method"] == "POST":
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message["more_body"]:
            break
    if scope["path"] == "/late":
        await asyncio.sleep(1)
    body = b"x" * LARGE if scope["path"] == "/large" else b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Served:
    def __init__(self) -> None:
        self.pool = ResourcePool("connections", 8)
        protocol = bounded_protocol(Bounds(self.pool, head_s=0.4, send_s=0.4))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.server = uvicorn.Server(uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, ws="none"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(self.socket.getsockname(), 20, source_address=(source, 0))

    def wait(self, connections: int) -> None:
        until = time.monotonic() + 20
        while self.pool.taken != connections:
            assert time.monotonic() < until, self.pool.taken
            time.sleep(0.01)


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    served = Served()
    while not served.server.started:
        time.sleep(0.01)
    address = served.socket.getsockname()
    served.socket = type("Known", (), {"getsockname": staticmethod(lambda: address)})()
    yield served
    served.server.should_exit = True
    served.thread.join(20)


@pytest.fixture
def served(running) -> Served:
    running.wait(0)
    return running


def answer(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    received = []
    while part := connection.recv(1 << 16):
        received.append(part)
    return b"".join(received)


@pytest.mark.parametrize("begun", [b"G", b"GET /small HTTP/1.1\r\nHost: a\r\n", HEAD + b"GET /small"])
def test_a_head_that_does_not_end_is_408(served, begun):
    with served.connect() as connection:
        connection.sendall(begun)
        said = answer(connection)
    assert b"HTTP/1.1 408 Request Timeout" in said
    assert said.endswith(b'{"detail": "expected a request\'s head within 0.4 s"}')
    served.wait(0)


def test_a_head_in_drops_is_408_too(served):
    with served.connect() as connection:
        for byte in HEAD[:-1]:
            connection.sendall(bytes([byte]))
            if select.select([connection], [], [], 0.05)[0]:
                break
        else:
            pytest.fail("the server listened on")
        assert b"HTTP/1.1 408 Request Timeout" in connection.recv(1 << 16)
    served.wait(0)


@pytest.mark.parametrize("begun", [b"", HEAD])
def test_a_silent_connection_is_closed(served, begun):
    with served.connect() as connection:
        connection.sendall(begun)
        said = answer(connection)
    assert said.count(b"HTTP/1.1 ") == (1 if begun else 0)
    served.wait(0)


def test_a_request_that_is_under_way_is_not_hurried(served):
    with served.connect() as connection:
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200")
    with served.connect() as connection:  # nor one after the other on the same connection
        for _ in range(4):
            connection.sendall(HEAD)
            time.sleep(0.2)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("closing", [b"", b"Connection: close\r\n"])
def test_who_does_not_read_is_cut_off(served, closing):
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n" + closing + b"\r\n")
        served.wait(1)
        served.wait(0)


@pytest.mark.parametrize("closing", [b"", b"Connection: close\r\n"])
def test_who_reads_gets_all_of_it_however_slowly(served, closing):
    with served.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n" + closing + b"\r\n")
        size = 0
        while size < LARGE:
            part = connection.recv(1 << 21)
            assert part, size
            size += len(part)
            time.sleep(0.02)


def test_one_client_gets_half_of_the_connections_and_others_find_one(served):
    held = [served.connect() for _ in range(4)]
    for connection in held:
        connection.sendall(b"G")
    served.wait(4)
    with served.connect() as connection:
        said = answer(connection)
    assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 1\r\n" in said
    assert said.endswith(
        b'{"detail": "busy: this client has 4 of 8 connections, 1 more needed, 4 free; try again later"}'
    )
    with served.connect("127.0.0.2") as connection:
        connection.sendall(HEAD)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
    for connection in held:
        connection.close()
    served.wait(0)


def body_in(pieces: list[bytes]) -> bytes:
    head = b"POST /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_a_body_in_crumbs_is_refused_and_one_in_pieces_is_not(served):
    with served.connect() as connection:
        connection.sendall(body_in([b"12345678" * 64] * 4000))
        assert answer(connection).endswith(b"%d" % (512 * 4000))
    with served.connect() as connection:
        connection.sendall(body_in([b"1"] * 4000))
        with contextlib.suppress(ConnectionResetError):  # what was still on its way
            assert answer(connection).startswith(b"HTTP/1.1 400")
    served.wait(0)


def test_running_out_of_handles_is_said_once(caplog):
    told = []

    class Loop(asyncio.SelectorEventLoop):
        def default_exception_handler(self, context):
            told.append(context["message"])

    loop = Loop()
    loop.close()
    handler = LoopErrorHandler()
    for _ in range(1000):
        handler(loop, {"message": "socket.accept()", "exception": OSError(errno.EMFILE, "Too many open files")})
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept connections: Too many open files; the server tries again each second"
    ]
    handler(loop, {"message": "another thing", "exception": ValueError("x")})
    assert told == ["another thing"]
    loop.close()


LIMITED = """
import resource, sys
from umgclip.serve.connections import connection_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
try:
    print(connection_limit(512), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "said"),
    [
        (256, 4096, r"512 9\d\d"),  # raised
        (600, 600, r"1[45]\d 600"),
        (256, 256, r"ulimit -n: expected a limit of at least 4\d\d open files, got 256; raise the limit"),
    ],
)
def test_no_more_connections_than_there_are_handles_for(soft, hard, said):
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= hard
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(soft=soft, hard=hard)], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(said, done.stdout.strip()), done.stdout
