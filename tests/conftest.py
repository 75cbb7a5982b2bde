"""What every test may rely on."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # the hook that checks shapes wants to be there before the package is imported
    from umgclip.io.storage import Location


def pytest_configure() -> None:
    """Let Ctrl-C reach tests and what they start, also where a shell's `&` has made this process ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
