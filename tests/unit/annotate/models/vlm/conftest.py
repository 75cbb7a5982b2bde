"""A server that sends whatever bytes a test wants, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest


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
