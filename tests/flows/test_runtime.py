"""Flows and the server that is configured."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from umgclip.errors import InputError
from umgclip.flows import runtime


class Asking(BaseHTTPRequestHandler):
    """A stand-in server that refuses every login."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, *_words: object) -> None:
        """Ignore log messages of the stand-in server."""


@flow
def nothing() -> None:
    """Do nothing; the flow never runs."""


@pytest.mark.parametrize(("login", "named"), [(None, "got none"), ("me:wrong", "got a different one")])
def test_a_server_that_asks_for_another_login_is_named(login: str | None, named: str):
    server = HTTPServer(("127.0.0.1", 0), Asking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/api"
    try:
        with (
            temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: login}),
            pytest.raises(InputError, match=rf"^PREFECT_API_AUTH_STRING: expected .*user:password, {named}"),
        ):
            runtime.start(nothing)
    finally:
        server.shutdown()
        server.server_close()
