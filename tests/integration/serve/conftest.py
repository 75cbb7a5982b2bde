"""A registry with two versions of a tiny model, and `umgclip serve` on it as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import torch
from mlflow import MlflowClient

from tests.forks import Begun, Forks
from umgclip.inference.folder import CARD, VOCABULARY
from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER, ADAPTER_WEIGHTS
from umgclip.params import LoraParams, RegisterParams, TowerParams
from umgclip.register.bundle import active, log_bundle
from umgclip.register.registry import Registry
from umgclip.tracking import environment, stage_run

TOWER = TowerParams(width=64, layers=2, heads=2, text_width=64, text_layers=1, text_heads=2, embed_dim=64)
START_S = 120
_OURS = ("UMGCLIP_", "MLFLOW_")


def _register(root: Path, base: Path, seed: int) -> None:
    clip, _ = files.load(base)
    tuned = add_lora(clip, LoraParams(rank=2, alpha=4))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.1)
    train = root / f"train-{seed}"
    tuned.save_pretrained(str(train / ADAPTER))
    adapter = sha256_file(train / ADAPTER / ADAPTER_WEIGHTS)
    write_json(train / "train.json", {"base_sha256": sha256_file(base / files.WEIGHTS), "adapter_sha256": adapter})
    documents = root / "documents"
    documents.mkdir(exist_ok=True)
    (documents / CARD).write_text("# A model for tests\n", encoding="utf-8")
    write_json(documents / VOCABULARY, {"things": ["dog", "cat", "apple"], "stuff": ["sky"]})
    with stage_run("register", {}, root=root) as run, active(run):
        model_id = log_bundle(RegisterParams(), base, train, documents)
        Registry(run.store.client(), "umgclip").create(model_id, run.run_id, {}, "a model for tests")


class Store:
    """The registry; `point` moves the alias champion."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = f"sqlite:///{root / 'mlflow.db'}"
        self.client = MlflowClient(tracking_uri=self.uri)

    def point(self, version: str) -> None:
        self.client.set_registered_model_alias("umgclip", "champion", version)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: bytes) -> Store:
    """Versions 1 and 2, with the same base and different adapters."""
    root = tmp_path_factory.mktemp("registry")
    (root / "mlflow.db").write_bytes(empty_store)
    base = root / "base"
    base.mkdir()
    torch.manual_seed(0)
    config = files.tower_config(TOWER)
    digest = files.save(base, files.build(config), config)
    write_json(base / "base.json", {"weights_sha256": digest, "pretrained": "scratch", "model": "umgclip-tiny"})
    made = Store(root)
    with environment({"MLFLOW_TRACKING_URI": made.uri, "UMGCLIP_PARENT_RUN_ID": None, "MLFLOW_RUN_ID": None}):
        for seed in (1, 2):
            _register(root, base, seed)
    return made


class Server:
    """A running `umgclip serve`: a fork, or without `forks` a process of Python's own."""

    def __init__(
        self, store: Store, options: list[str], variables: dict[str, str], log: Path, forks: Forks | None
    ) -> None:
        self.log = log
        words = ["-m", "umgclip", "serve", "--port", "0", "--poll-s", "0.5", *options]
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        place = {"cwd": store.root, "env": {**quiet, **variables}}  # without MLFLOW_TRACKING_URI: mlflow.db lies there
        self.process: subprocess.Popen[bytes] | Begun
        with log.open("w", encoding="utf-8") as said, Path(os.devnull).open() as nothing:
            streams = {"stdin": nothing, "stderr": said, "stdout": said}
            if forks is None:
                self.process = subprocess.Popen([sys.executable, *words], **place, **streams)
            else:
                self.process = forks.popen(words, **place, **streams)
        until = time.monotonic() + START_S
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", self.said)):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.1)
        self.url = found[0]
        self.http = httpx.Client(base_url=self.url, timeout=60)

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def memory_mib(self) -> float:
        """Resident set."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def health(self) -> dict:
        return self.http.get("/health").json()

    def wait_for_version(self, version: str) -> None:
        until = time.monotonic() + 60
        while self.health()["model"]["version"] != version:
            assert time.monotonic() < until, self.health()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def start(store: Store, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start servers, which end with the module: `start("--queue", "64", UMGCLIP_API_KEY="secret")`.

    They are forks; `start(forked=False)` starts one as a user does, for tests of how it begins and ends.
    """
    servers: list[Server] = []

    def run(*options: str, forked: bool = True, **variables: str) -> Server:
        log = tmp_path_factory.mktemp("serve") / "log"
        servers.append(Server(store, list(options), variables, log, forks if forked else None))
        return servers[-1]

    store.point("1")
    yield run
    for server in servers:
        server.stop()
