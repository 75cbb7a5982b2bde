"""HTTP server of a gallery, for this machine only."""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from umgclip.browse.predictions import REPORT
from umgclip.browse.routes import PageAnswer, Routes
from umgclip.errors import InputError

LOOPBACK = "127.0.0.1"
_NAMES = (LOOPBACK, "localhost")
_PAGES = ("/", "/index.html")
_LONGEST_PATH = 4096
_OWN_SITE = ("same-origin", "none")  # what browsers say of a request by this page, or by the user
_IDLE_S = 60
# the copy of an evaluation's report holds its own style and its one script, by the hash that it states; it can reach no
# other file of the gallery, and be left by its links
_REPORT = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {script}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-top-navigation"
)
_SCRIPT = re.compile(rb"script-src ('sha256-[A-Za-z0-9+/]{43}=')")
_HEAD_BYTES = 4096
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def open_server(folder: Path, port: int, routes: Routes | None = None) -> ThreadingHTTPServer:
    """Open a server for the files in a folder; port 0 takes a free one.

    With `routes` their pages are answered, too, and the gallery's page links them. A page of another site that asks
    for one of them is refused, because answers cost time.

    Requests that name another host are refused, so that a page elsewhere whose name is made to point here reads
    nothing.

    Raises:
        InputError: the port is taken.
    """
    try:
        return ThreadingHTTPServer((LOOPBACK, port), partial(_Handler, directory=str(folder), routes=routes))
    except (OSError, OverflowError) as error:
        raise InputError(f"--port: expected a free port, got {port} ({error})") from error


def address(server: ThreadingHTTPServer) -> str:
    """Return the URL under which the server answers."""
    return f"http://{LOOPBACK}:{server.server_address[1]}/"


def _policy(report: Path) -> str:
    """Return the policy of a report: its own script runs, by its hash."""
    try:
        with report.open("rb") as handle:
            script = _SCRIPT.search(handle.read(_HEAD_BYTES))
    except OSError:
        script = None
    return _REPORT.format(script=script[1].decode() if script else "'none'")


class _Handler(SimpleHTTPRequestHandler):
    """Handler that serves files as they are, without listings and without a log."""

    server_version, sys_version = "umgclip", ""
    timeout = _IDLE_S

    def __init__(self, *args: Any, routes: Routes | None = None, **options: Any) -> None:  # noqa: ANN401
        self._routes = routes
        self._headers = _HEADERS
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        if self._is_asked_here() and not self._answered():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._is_asked_here() and not self._answered():
            super().do_HEAD()

    def end_headers(self) -> None:
        policy = {"Content-Security-Policy": _policy(Path(self.directory) / REPORT)} if self._is_report() else {}
        for name, value in (self._headers | policy).items():
            self.send_header(name, value)
        super().end_headers()

    def _answered(self) -> bool:
        """PageAnswer a request for a page of the routes, or for the gallery's own page, which gets links to them."""
        if self._routes is None:
            return False
        if len(self.path) > _LONGEST_PATH:
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return True
        if urlsplit(self.path).path in _PAGES:
            page = Path(self.directory) / _PAGES[-1].lstrip("/")
            body = page.read_bytes().replace(b"<header>", self._routes.tabs.encode() + b"<header>", 1)
            self._send(PageAnswer(body))
            return True
        if self.headers.get("Sec-Fetch-Site", "none") not in _OWN_SITE and self.path.startswith("/search"):
            self.send_error(HTTPStatus.FORBIDDEN, "expected a request from this page")
            return True
        answer = self._routes.answer(self.path)
        if answer is not None:
            self._send(answer)
        return answer is not None

    def _send(self, answer: PageAnswer) -> None:
        self._headers = {**_HEADERS, **answer.headers}
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def list_directory(self, path: Any) -> None:  # noqa: ANN401, ARG002 - the base class's own
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's own
        """Nothing."""

    def _is_report(self) -> bool:
        path = getattr(self, "path", "/")  # none of a request that cannot be read
        return Path(self.translate_path(path)) == Path(self.directory) / REPORT

    def _is_asked_here(self) -> bool:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in _NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, f"expected a request to {LOOPBACK}")
        return host in _NAMES
