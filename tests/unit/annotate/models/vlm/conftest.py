"""Two servers on this machine: one sends whatever bytes a test wants, one chat completions, and both remember."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image


class RawServer:
    """Answers every request with the bytes `reply`, all at once or one by one with a pause."""

    def __init__(self) -> None:
        self.reply = b""
        self.pause_s: float | None = None
        self.asked: list[bytes] = []
        self._ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        self._socket.settimeout(0.02)
        while not self._ended.is_set():
            try:
                one, _ = self._socket.accept()
            except TimeoutError:
                continue
            with one:
                try:
                    self._answer(one)
                except OSError:  # whoever asked has gone
                    continue

    def _answer(self, one: socket.socket) -> None:
        one.settimeout(5)
        head = b""
        while b"\r\n\r\n" not in head:
            head += one.recv(1 << 16)
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += one.recv(1 << 16)
        self.asked.append(head)
        if self.pause_s is None:
            one.sendall(self.reply)
            return
        for byte in self.reply:
            if self._ended.is_set():
                return
            one.sendall(bytes([byte]))
            time.sleep(self.pause_s)


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A response of HTTP."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def said(content: Any) -> bytes:
    """A completion whose message has this content."""
    return http(json.dumps({"choices": [{"message": {"content": content}}]}).encode())


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()


def completion(content, finish="stop", logs=(0.0, -0.2), tokens=None, **message):
    """A chat completion; `tokens` are pairs of what a token spells and its logarithm, else their text is not told."""
    text = content if isinstance(content, str) else json.dumps(content)
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    if tokens is not None:
        choice["logprobs"] = {"content": [{"token": token, "logprob": log} for token, log in tokens]}
    elif logs is not None:
        choice["logprobs"] = {"content": [{"token": "x", "logprob": log} for log in logs]}
    return 200, {"choices": [choice], "usage": {"total_tokens": 100}}


class ChatServer(ThreadingHTTPServer):
    """Counts what is on its way, and asks `answer(body, number)` for (status, body) or (status, body, headers)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.bodies, self.keys, self.now, self.most = [], [], 0, 0
        self.answer = lambda body, number: completion({"caption": "a dog"})

    def handle_error(self, request, client_address):
        """Whoever does not wait for a slow answer is no fault here."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.keys.append(self.headers.get("authorization"))
            number, server.now = len(server.bodies), server.now + 1
            server.most = max(server.most, server.now)
        try:
            status, said, *headers = server.answer(body, number)
        finally:
            with server.lock:
                server.now -= 1
        if self.path not in ("/v1/chat/completions", "/chat/completions"):
            status, said = 404, {"error": "no such path"}
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in (headers[0] if headers else {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Silent."""


@contextmanager
def serving():
    server = ChatServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server():
    with serving() as server:
        yield server


def image(shade=0, size=(60, 80)):
    return np.full((*size, 3), shade, np.uint8)


def sent(body):
    content = body["messages"][0]["content"]
    kind, _, data = content[0]["image_url"]["url"].partition(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == f"data:image/{picture.format.lower()}"
    return picture, content[1]["text"]
