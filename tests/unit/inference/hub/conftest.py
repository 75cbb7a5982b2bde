"""A stand-in of the Hugging Face hub on loopback, for the real client: accounts, repositories, LFS, commits."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch
import yaml

import umgclip
from umgclip.io.atomic import write_json
from umgclip.model.clip import files
from umgclip.params import TowerParams

ALICE, READER = "hf_aliceMayWriteWhatIsHers", "hf_readerMayOnlyRead"
USERS = {ALICE: ("alice", "write"), READER: ("bob", "read")}
TEMPLATE = "/{repo_id}/resolve/{revision}/{filename}"
LARGE = (".safetensors", ".bin", ".pt")


@dataclass
class Repository:
    """Branches of commits of files; a file's content is in `blobs`."""

    private: bool
    branches: dict[str, list[str]] = field(default_factory=lambda: {"main": []})
    commits: dict[str, dict[str, str]] = field(default_factory=dict)  # files of a commit: SHA-256 by path
    messages: list[str] = field(default_factory=list)

    def commit_of(self, revision: str) -> str | None:
        if revision in self.commits:
            return revision
        history = self.branches.get(revision)
        return None if history is None else history[-1]

    def add(self, branch: str, listed: dict[str, str], message: str) -> str:
        number = len(self.commits)
        name = hashlib.sha1(json.dumps([number, sorted(listed.items())]).encode()).hexdigest()
        self.commits[name] = listed
        self.branches.setdefault(branch, []).append(name)
        self.messages.append(message)
        return name


class HubStandIn:
    """What the hub would hold, and what it was asked.

    Attributes:
        failing: number of uploads to break off before they are let through.
        down: status with which everything is answered; None: as ever.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.failing = 0
        self.down: int | None = None
        self.url = ""

    def uploads(self) -> list[str]:
        return [path for method, path in self.asked if method == "PUT"]

    def fetched(self) -> set[str]:
        return {path.rsplit("/", 1)[-1] for method, path in self.asked if method == "GET" and "/resolve/" in path}

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        repository = self.repositories[repo]
        return {path: self.blobs[sha] for path, sha in repository.commits[repository.commit_of(revision)].items()}

    def put(self, repo: str, listed: dict[str, bytes], branch: str = "main", *, private: bool = False) -> str:
        """What somebody else pushed."""
        repository = self.repositories.setdefault(repo, Repository(private))
        shas = {path: hashlib.sha256(content).hexdigest() for path, content in listed.items()}
        self.blobs |= {shas[path]: content for path, content in listed.items()}
        return repository.add(branch, shas, "by hand")


class Handler(BaseHTTPRequestHandler):
    hub: HubStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content if content is not None else {}).encode()
        self.send_response(status)
        given = headers or {}
        if "Content-Length" not in given:
            self.send_header("Content-Length", str(len(body)))
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str = "", text: str = "") -> None:
        self.answer(status, {"error": text or code}, {"X-Error-Code": code, "X-Error-Message": text or code})

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunked()
        if self.hub.down is not None:
            self.error(self.hub.down)
            return
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in USERS:
            self.error(401, "", "Invalid credentials in Authorization header")
            return
        for pattern, method, act in ROUTES:
            if method == self.command and (match := re.fullmatch(pattern, path)):
                act(self, USERS.get(token), body, *match.groups())
                return
        self.error(404, "", f"no such route: {self.command} {path}")

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815 - http.server's names

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def readable(self, user: Any, repo: str) -> Repository | None:
        repository = self.hub.repositories.get(repo)
        if repository is None or (repository.private and user is None):
            self.error(401 if user is None else 404, "RepoNotFound", "Repository not found")
            return None
        return repository


def whoami(handler: Handler, user: Any, _: bytes) -> None:
    if user is None:
        handler.error(401, "", "Invalid username or password.")
        return
    handler.answer(200, {"type": "user", "name": user[0], "orgs": [], "auth": {"accessToken": {"role": user[1]}}})


def create(handler: Handler, user: Any, body: bytes) -> None:
    asked = json.loads(body)
    if user is None:
        handler.error(401, "", "Invalid username or password.")
        return
    repo = f"{asked.get('organization') or user[0]}/{asked['name']}"
    if user[1] != "write" or repo.split("/")[0] != user[0]:
        handler.error(403, "", f"You don't have the rights to create a model under the namespace {repo.split('/')[0]}")
        return
    about = {"url": f"{handler.hub.url}/{repo}", "id": repo}
    if repo in handler.hub.repositories:
        handler.answer(409, {"error": "You already created this model repo", **about})
        return
    handler.hub.repositories[repo] = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
    handler.hub.put(repo, {".gitattributes": b"*.safetensors filter=lfs"})
    handler.answer(200, about)


def check_card(handler: Handler, _: Any, body: bytes) -> None:
    text = json.loads(body)["content"]
    try:
        metadata = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else None
    except yaml.YAMLError as error:
        handler.answer(400, {"errors": [{"message": str(error)}], "warnings": []})
        return
    warnings = [] if metadata else [{"message": "empty or missing yaml metadata in repo card"}]
    handler.answer(200, {"errors": [], "warnings": warnings})


def info(handler: Handler, user: Any, _: bytes, repo: str, revision: str = "main") -> None:
    repository = handler.readable(user, repo)
    if repository is None:
        return
    commit = repository.commit_of(revision)
    if commit is None:
        handler.error(404, "RevisionNotFound", "Invalid rev id")
        return
    siblings = [{"rfilename": path} for path in sorted(repository.commits[commit])]
    about = {"id": repo, "modelId": repo, "sha": commit, "private": repository.private, "siblings": siblings}
    handler.answer(200, about | {"tags": [], "downloads": 0, "likes": 0})


def tree(handler: Handler, user: Any, _: bytes, repo: str, revision: str) -> None:
    repository = handler.readable(user, repo)
    if repository is None:
        return
    commit = repository.commit_of(revision)
    if commit is None:
        handler.error(404, "RevisionNotFound", "Invalid rev id")
        return
    listed = []
    for path, sha in sorted(repository.commits[commit].items()):
        size = len(handler.hub.blobs[sha])
        entry: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": git_sha(handler.hub.blobs[sha])}
        if path.endswith(LARGE):
            entry["lfs"] = {"oid": sha, "size": size, "pointerSize": 130}
        listed.append(entry)
    handler.answer(200, listed)


def git_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def preupload(handler: Handler, user: Any, body: bytes, repo: str, revision: str) -> None:
    repository = writable(handler, user, repo)
    if repository is None:
        return
    there = repository.commits[repository.commit_of(revision) or ""]
    answers = []
    for file in json.loads(body)["files"]:
        sha, large = there.get(file["path"]), file["path"].endswith(LARGE)
        oid = None if sha is None else sha if large else git_sha(handler.hub.blobs[sha])
        mode = "lfs" if large else "regular"
        answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    handler.answer(200, {"files": answers})


def writable(handler: Handler, user: Any, repo: str) -> Repository | None:
    if user is None or user[1] != "write" or user[0] != repo.split("/")[0]:
        handler.error(401 if user is None else 403, "", "Forbidden: you must use a write token")
        return None
    return handler.readable(user, repo)


def batch(handler: Handler, user: Any, body: bytes, repo: str) -> None:
    if writable(handler, user, repo) is None:
        return
    objects = []
    for one in json.loads(body)["objects"]:
        entry = {"oid": one["oid"], "size": one["size"]}
        if one["oid"] not in handler.hub.blobs:
            url = f"{handler.hub.url}/lfs/{one['oid']}"
            entry["actions"] = {"upload": {"href": url, "header": {}}}
        objects.append(entry)
    handler.answer(200, {"transfer": "basic", "objects": objects})


def receive(handler: Handler, _: Any, body: bytes, oid: str) -> None:
    if handler.hub.failing:
        handler.hub.failing -= 1
        handler.error(403, "", "the connection was lost")
        return
    assert hashlib.sha256(body).hexdigest() == oid
    handler.hub.blobs[oid] = body
    handler.answer(200)


def commit(handler: Handler, user: Any, body: bytes, repo: str, revision: str) -> None:
    repository = writable(handler, user, repo)
    if repository is None:
        return
    if revision not in repository.branches:
        handler.error(404, "RevisionNotFound", "Invalid rev id")
        return
    listed = dict(repository.commits[repository.branches[revision][-1]])
    message = ""
    for line in filter(None, body.splitlines()):
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "header":
            message = value["summary"]
        elif entry["key"] == "file":
            content = base64.b64decode(value["content"])
            handler.hub.blobs[sha := hashlib.sha256(content).hexdigest()] = content
            listed[value["path"]] = sha
        elif entry["key"] == "lfsFile":
            assert value["oid"] in handler.hub.blobs, "a pointer to what was never sent"
            listed[value["path"]] = value["oid"]
        elif entry["key"] == "deletedFile":
            del listed[value["path"]]
    name = repository.add(revision, listed, message)
    handler.answer(200, {"success": True, "commitOid": name, "commitUrl": f"{handler.hub.url}/{repo}/commit/{name}"})


def branch(handler: Handler, user: Any, _: bytes, repo: str, name: str) -> None:
    repository = writable(handler, user, repo)
    if repository is None:
        return
    if name in repository.branches:
        handler.error(409, "", "Reference already exists")
        return
    repository.branches[name] = list(repository.branches["main"])
    handler.answer(201)


def resolve(handler: Handler, user: Any, _: bytes, repo: str, revision: str, path: str) -> None:
    repository = handler.readable(user, repo)
    if repository is None:
        return
    name = repository.commit_of(revision)
    if name is None:
        handler.error(404, "RevisionNotFound", "Invalid rev id")
        return
    sha = repository.commits[name].get(path)
    if sha is None:
        handler.answer(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": name})
        return
    content = handler.hub.blobs[sha]
    headers = {"X-Repo-Commit": name, "ETag": f'"{sha}"', "Content-Length": str(len(content))}
    handler.answer(200, content, headers)


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    (r"/api/whoami-v2", "GET", whoami),
    (r"/api/repos/create", "POST", create),
    (r"/api/validate-yaml", "POST", check_card),
    (rf"/api/models/{REPO}", "GET", info),
    (rf"/api/models/{REPO}/revision/(.+)", "GET", info),
    (rf"/api/models/{REPO}/tree/([^/]+)/?", "GET", tree),
    (rf"/api/models/{REPO}/preupload/(.+)", "POST", preupload),
    (rf"/api/models/{REPO}/commit/(.+)", "POST", commit),
    (rf"/api/models/{REPO}/branch/(.+)", "POST", branch),
    (rf"/{REPO}\.git/info/lfs/objects/batch", "POST", batch),
    (r"/lfs/(\w+)", "PUT", receive),
    (rf"/{REPO}/resolve/([^/]+)/(.+)", "GET", resolve),
    (rf"/{REPO}/resolve/([^/]+)/(.+)", "HEAD", resolve),
]


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    """A hub with nothing in it, which answers on loopback."""
    stand_in = HubStandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": stand_in}))
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield stand_in
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """The real client of this process speaks to the stand-in, with an empty cache; takes another token."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + TEMPLATE)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None, time=__import__("time").time))
    monkeypatch.setenv("HF_TOKEN", ALICE)

    def login(token: str | None) -> None:
        monkeypatch.delenv("HF_TOKEN", raising=False)
        if token is not None:
            monkeypatch.setenv("HF_TOKEN", token)

    return login


@pytest.fixture(scope="module")
def small_base(tiny: TowerParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base as the stage writes it, random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("small") / "base"
    folder.mkdir()
    config = files.tower_config(tiny)
    digest = files.save(folder, files.build(config), config)
    about = {"weights_sha256": digest, "pretrained": "scratch", "model": "umgclip-tiny"}
    write_json(folder / "base.json", about)
    return folder


@pytest.fixture
def model(small_base: Path) -> umgclip.Model:
    """A small model on the CPU."""
    return umgclip.load(small_base, device="cpu")
