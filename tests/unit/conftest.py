"""What several packages' tests start from: a tower of a size for tests, and a few demo images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import pytest

from umgclip.params import DataParams, TowerParams
from umgclip.sources.demo.scenes import write_demo

if TYPE_CHECKING:
    from umgclip.inference.answerer import Answerer


@pytest.fixture(scope="session")
def tiny() -> TowerParams:
    """96 px images, 8 x 8 tokens, 64 dimensions."""
    return TowerParams(width=64, heads=2, layers=2, text_width=64, text_heads=2, text_layers=1, embed_dim=64)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with `train` (24 images with alt texts) and `benchmark` (32 with their truth). Read only."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_demo(DataParams(train_scenes=24, benchmark_scenes=24, benchmark_singles=8, shard_samples=10), folder)
    return folder


@pytest.fixture
def shapes_unchecked() -> Iterator[None]:
    """Run as in production, where jaxtyping's hook, which would refuse a wrong shape first, is not installed."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="module")
def make_answerer(tiny: TowerParams) -> Callable[..., Answerer]:
    """A tiny model that answers: 96 px, a grid of 8 x 8, 64 dimensions; three concepts."""
    import torch

    from umgclip.inference.answerer import Answerer
    from umgclip.model.clip import files

    def make(**options: str) -> Answerer:
        torch.manual_seed(0)
        clip = files.build(files.tower_config(tiny)).eval()
        return Answerer(clip, vocabulary=("dog", "apple", "sky"), device="cpu", **options)

    return make


@pytest.fixture(scope="module")
def answerer(make_answerer: Callable[..., Answerer]) -> Answerer:
    """One that squeezes its images."""
    return make_answerer()
