"""A small model with random weights, and a server around it in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from umgclip.inference.answerer import Answerer
from umgclip.inference.request import Prepared
from umgclip.io.images import encode_png
from umgclip.model.clip import files
from umgclip.params import TowerParams
from umgclip.serve.app import create_app
from umgclip.serve.current import Current, ModelSource
from umgclip.serve.settings import ModelSelection, ServeSettings

VOCABULARY = ("dog", "cat", "apple")


class Watched(Answerer):
    """Remembers its steps, waits while it is told to (with texts, too, or not), fails over images that are black."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batches: list[int] = []
        self.steps: list[tuple[str, int]] = []
        self.texts_too = False
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Event()  # set by a step that waits when told to

    def answer(self, requests: Any, prompts: Any = None) -> list[dict[str, Any]]:
        self.busy.set()
        assert self.go.wait(30)
        self.batches.append(len(requests))
        self.steps.append(("images", len(requests)))
        if any(not one.pixels.any() for one in requests):
            raise RuntimeError("a kernel failed")
        return super().answer(requests, prompts)

    def embed(self, prompts: Any) -> dict[str, Any]:
        if self.texts_too:
            self.busy.set()
            assert self.go.wait(30)
        self.steps.append(("texts", len(prompts)))
        return super().embed(prompts)

    def prepared(self, seed: int = 0) -> Prepared:
        return self.prepare({"image": picture(seed), "labels": ["dog", "cat"]})


def picture(seed: int = 0, size: int = 24) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(1, 256, (size, size, 3), dtype=np.uint8))


@pytest.fixture
def make_answerer(tiny: TowerParams) -> Callable[[int], Watched]:
    def make(seed: int) -> Watched:
        torch.manual_seed(seed)
        return Watched(files.build(files.tower_config(tiny)), vocabulary=VOCABULARY, device="cpu")

    return make


class FakeRegistry:
    """A registry in memory: `alias` names the version, `models` makes each."""

    def __init__(self, make: Callable[[int], Answerer]) -> None:
        self.alias: str | Exception = "1"
        self.models: dict[str, Callable[[], Answerer]] = {str(seed): (lambda seed=seed: make(seed)) for seed in (1, 2)}
        self.fetched: list[str] = []
        self.folders: list[Path] = []

    def resolve(self) -> str:
        if isinstance(self.alias, Exception):
            raise self.alias
        return self.alias

    def fetch(self, version: str, into: Path) -> Answerer:
        self.fetched.append(version)
        self.folders.append(into)
        (into / "weights").write_bytes(b"0")
        return self.models[version]()

    def store(self) -> ModelSource:
        return ModelSource(self.resolve, self.fetch)


@pytest.fixture
def registry(make_answerer: Callable[[int], Watched]) -> FakeRegistry:
    return FakeRegistry(make_answerer)


@pytest.fixture
def current(registry: FakeRegistry) -> Current:
    return Current(ModelSelection(poll_s=0.05), registry.store())


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(current: Current) -> Iterator[Serve]:
    """Start servers around `current`; they end with the test."""
    with_clients: list[TestClient] = []

    def start(settings: ServeSettings | None = None, keys: tuple[str, ...] = ()) -> TestClient:
        client = TestClient(create_app(settings or ServeSettings(), current, keys), raise_server_exceptions=False)
        with_clients.append(client)
        return client.__enter__()

    yield start
    for client in with_clients:
        client.__exit__(None, None, None)
