"""`umgclip doctor`: what is wrong is named, with what to do; what is not set up is no fault."""

import base64
import socket
import subprocess
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from umgclip.cli.doctor import machine

ROOT = Path(__file__).parents[3]
PREFECT, S3 = "PREFECT_API_URL", "UMGCLIP_REMOTE_URL"


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in (
        PREFECT,
        "PREFECT_API_AUTH_STRING",
        S3,
        "UMGCLIP_RAW_PREFIX",
        "MLFLOW_TRACKING_URI",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
    ):
        monkeypatch.delenv(name, raising=False)


def examined(root: Path) -> dict[str, machine.Finding]:
    return {finding.what: finding for finding in machine.examine(root, ROOT / "params.yaml")}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_only_data_are_missing_in_an_empty_folder(tmp_path):
    found = examined(tmp_path)
    assert {what for what, finding in found.items() if not finding.good} == {"data/train", "data/benchmark"}
    assert "built for" in found["torch"].result
    assert found["memory"].result.endswith("GiB free")
    assert "flows run without a server" in found["Prefect"].result


def test_a_prefect_server_that_does_not_answer_is_named_without_its_password(tmp_path, monkeypatch):
    port = closed_port()
    monkeypatch.setenv(PREFECT, f"http://user:secret@127.0.0.1:{port}/api")
    found = examined(tmp_path)["Prefect"]
    assert f"http://***@127.0.0.1:{port}/api does not answer" in found.result
    assert "secret" not in found.result
    assert "make up" in found.mend


class _Asking(BaseHTTPRequestHandler):
    """A Prefect server with a login."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == f"Basic {base64.b64encode(b'me:secret').decode()}"
        self.send_response(200 if known and self.path == "/api/admin/version" else 401)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


def test_a_prefect_server_that_asks_for_another_login_is_named(tmp_path, monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), _Asking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(PREFECT, f"http://127.0.0.1:{server.server_port}/api")
    said = {}
    for login in ("", "me:wrong", "me:secret"):
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", login)
        said[login] = examined(tmp_path)["Prefect"]
    server.shutdown()
    server.server_close()
    assert "PREFECT_API_AUTH_STRING: expected the login of Prefect" in said[""].result
    assert "got none" in said[""].result
    assert "got another one" in said["me:wrong"].result
    assert not said["me:wrong"].good
    assert said["me:secret"].good


def test_an_address_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(PREFECT, "ephemeral")
    assert "expected http://HOST:PORT/api" in examined(tmp_path)["Prefect"].result


def test_an_object_store_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv(S3, "s3://bucket/prefix")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("umgclip.io.storage._ATTEMPTS", 1)
    found = examined(tmp_path)["S3"]
    assert "s3://bucket/prefix: the object store does not answer" in found.result
    assert "AWS_ENDPOINT_URL" in found.mend


@pytest.mark.parametrize(
    "url",
    ["http://user:hunter2@127.0.0.1:9", "http://hunter2@h:x/", "http://127.0.0.1:9/?token=hunter2", "http://[::1"],
)
def test_no_credentials_of_an_address_are_shown(tmp_path, monkeypatch, url):
    for name in (PREFECT, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{url}/mlflow")
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    set_up = examined(tmp_path)["S3"].result
    assert set_up.count("AWS_ENDPOINT_URL") == 2
    monkeypatch.setenv(S3, "s3://bucket/prefix")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("umgclip.io.storage._ATTEMPTS", 1)
    found = examined(tmp_path)
    assert {what for what in ("MLflow", "S3", "Prefect") if found[what].good} == set()
    assert "hunter2" not in set_up + "".join(finding.result for finding in found.values())


def test_too_little_memory_and_disk_are_named(tmp_path, monkeypatch):
    memory, disk = namedtuple("M", "available total"), namedtuple("D", "free")
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory(1 << 30, 8 << 30))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: disk(1 << 30))
    found = examined(tmp_path)
    assert found["memory"].result == "1.0 of 8.0 GiB free"
    assert "4 GiB" in found["memory"].mend
    assert "dvc gc" in found["disk"].mend


def test_a_torchvision_for_another_torch_is_named(monkeypatch, tmp_path):
    def missing(*_):
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr("torchvision.ops.nms", missing)
    found = examined(tmp_path)["torchvision"]
    assert found.result == "does not fit torch: operator torchvision::nms does not exist"
    assert "make install" in found.mend


def test_a_shallow_clone_is_said(tmp_path):
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True)

    assert examined(tmp_path)["git"].result.startswith("no commit")
    git("init", "-q", "whole")
    who = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
    for _ in range(2):
        git("-C", "whole", *who, "commit", "-q", "--allow-empty", "-m", "x")
    git("clone", "-q", "--depth", "1", f"file://{tmp_path / 'whole'}", "shallow")
    assert "shallow" not in examined(tmp_path / "whole")["git"].result
    found = examined(tmp_path / "shallow")["git"]
    assert found.result.endswith("sweeps and `dvc exp run --temp` are refused: git fetch --unshallow")
    assert found.good
