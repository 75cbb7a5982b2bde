"""What several packages' tests start from: a tower of a size for tests, and a few demo images."""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

from umgclip.params import DataParams, TowerParams
from umgclip.sources.demo import write_demo


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
