"""The server of a gallery: its files, for this machine alone."""

from __future__ import annotations

import http.client
import socket
import threading

import pytest

from umgclip.browse.server import address, open_server
from umgclip.errors import InputError


@pytest.fixture
def server(tmp_path):
    (tmp_path / "gallery" / "images").mkdir(parents=True)
    (tmp_path / "gallery" / "index.html").write_text("the page")
    (tmp_path / "secret.txt").write_text("elsewhere")
    with open_server(tmp_path / "gallery", 0) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def ask(server, path, host=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_it_answers_with_files_under_a_policy(server):
    assert address(server) == f"http://127.0.0.1:{server.server_address[1]}/"
    status, body, headers = ask(server, "/")
    assert (status, body) == (200, "the page")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_report_runs_its_own_script_and_reaches_nothing(server, tmp_path):
    own = "sha256-" + "A" * 43 + "="
    page = f"<meta content=\"default-src 'none'; script-src '{own}'\">"
    (tmp_path / "gallery" / "report.html").write_text(page)
    for path in ("/report.html", "/report.html?a=1", "/./report.html"):
        status, body, headers = ask(server, path)
        assert (status, body) == (200, page)
        policy = headers["Content-Security-Policy"]
        assert f"script-src '{own}';" in policy
        assert "sandbox allow-scripts" in policy
        assert "allow-same-origin" not in policy
    (tmp_path / "gallery" / "report.html").write_text("<meta content=\"script-src 'unsafe-inline'\">")
    assert "script-src 'none';" in ask(server, "/report.html")[2]["Content-Security-Policy"]
    assert "sandbox" not in ask(server, "/index.html")[2]["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/images/", "/nothing.js", "/../secret.txt", "/%2e%2e/secret.txt"])
def test_nothing_else_is_given(server, path):
    status, body, _ = ask(server, path)
    assert status == 404
    assert "elsewhere" not in body


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:80", ""])
def test_pages_elsewhere_cannot_read_it_under_their_own_name(server, host):
    assert ask(server, "/", host)[0] == 403
    assert ask(server, "/", host, "HEAD")[0] == 403
    assert ask(server, "/", "localhost:1")[0] == 200


def test_it_writes_nothing(server):
    assert ask(server, "/", method="POST")[0] == 501
    assert ask(server, "/", method="PUT")[0] == 501


def test_it_listens_on_loopback_and_says_when_it_cannot(server, tmp_path):
    assert server.server_address[0] == "127.0.0.1"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port: expected a free port, got {port}"):
            open_server(tmp_path, port)
