"""HTTP server of a gallery, for this machine only."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from umgclip.errors import InputError

LOOPBACK = "127.0.0.1"
_NAMES = (LOOPBACK, "localhost")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def open_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Open a server for the files in a folder; port 0 takes a free one.

    Requests that name another host are refused, so that a page elsewhere whose name is made to point here reads
    nothing.

    Raises:
        InputError: the port is taken.
    """
    try:
        return ThreadingHTTPServer((LOOPBACK, port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise InputError(f"--port: expected a free port, got {port} ({error})") from error


def address(server: ThreadingHTTPServer) -> str:
    """Return the URL under which the server answers."""
    return f"http://{LOOPBACK}:{server.server_address[1]}/"


class _Handler(SimpleHTTPRequestHandler):
    """Handler that serves files as they are, without listings and without a log."""

    server_version, sys_version = "umgclip", ""

    def do_GET(self) -> None:
        if self._is_asked_here():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._is_asked_here():
            super().do_HEAD()

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:  # noqa: ANN401, ARG002 - the base class's own
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's own
        """Nothing."""

    def _is_asked_here(self) -> bool:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in _NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, f"expected a request to {LOOPBACK}")
        return host in _NAMES
