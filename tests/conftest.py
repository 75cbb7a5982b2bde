"""What every test may rely on."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import jaxtyping
import pytest

from tests.checks import checked

if TYPE_CHECKING:  # the hook that checks shapes wants to be there before the package is imported
    from umgclip.io.storage import Location

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub reads it: a test that would download fails


class Unchecked:
    """Finds the flows before the hook that checks shapes: Prefect and pydantic read their types themselves."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path, target) if name.startswith("umgclip.flows.") else None


sys.meta_path.insert(0, Unchecked)
jaxtyping.jaxtyped = checked  # what the hook calls for each function


def pytest_configure() -> None:
    """Let Ctrl-C reach tests and what they start, also where a shell's `&` has made this process ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave what is imported, millions of objects, out of the rounds of the garbage collector."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # with what imports left unused: finding it takes longer than it is worth
        atexit.register(gc.unfreeze)  # libraries count what is left at the end
        gc.enable()


@pytest.fixture(autouse=True)
def fresh_output() -> None:
    """Forget the name, `--json`, `--quiet` and `--verbose` of a command that an earlier test ran in this process."""
    if (output := sys.modules.get("umgclip.cli.habits.output")) is not None:
        output.reset()


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    """Keep what Typer makes of an app for `CliRunner`, which takes a tenth of a second; a command keeps no state."""
    import typer.testing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server on loopback that speaks S3, for this process and others."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Location:
    """An empty bucket, which the environment leads to."""
    import boto3
    import httpx

    from umgclip.io.storage import Location

    variables = {
        "AWS_ENDPOINT_URL": s3_endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    httpx.post(f"{s3_endpoint}/moto-api/reset").raise_for_status()
    boto3.Session().client("s3").create_bucket(Bucket="bucket")
    return Location("bucket", "")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of MLflow with its tables, to copy: making them takes seconds."""
    from mlflow import MlflowClient

    root = tmp_path_factory.mktemp("empty")
    MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").search_experiments()
    return (root / "mlflow.db").read_bytes()


@pytest.fixture(scope="session")
def write_evaluation() -> Callable[[Path, int, int], None]:
    """Writes what `evaluate` reads into a folder: a demo of so many scenes and singles, a base with random weights,
    an adapter that changes it, and the truth in the place of annotations and proposals.
    """
    import torch

    from umgclip.model.adapters.adapt import add_lora
    from umgclip.model.clip import files
    from umgclip.params import DataParams, LoraParams, TowerParams
    from umgclip.sources.demo.scenes import write_demo

    def write(root: Path, scenes: int, singles: int) -> None:
        write_demo(DataParams(train_scenes=1, benchmark_scenes=scenes, benchmark_singles=singles), root / "data")
        tower = TowerParams(
            width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
        )
        torch.manual_seed(0)
        model_cfg = files.tower_config(tower)
        clip = files.build(model_cfg)
        (root / "base").mkdir()
        files.save(root / "base", clip, model_cfg)
        adapted = add_lora(clip, LoraParams(rank=4, alpha=8))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
        adapted.save_pretrained(str(root / "train" / "adapter"))
        for name in ("annotations", "proposals"):
            shutil.copytree(root / "data" / "benchmark", root / name)

    return write
