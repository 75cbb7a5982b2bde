"""Tiny models with random weights, written as transformers writes real ones; nothing is downloaded."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks.real_size.tiny import MAKERS
from umgclip.data.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a tiny model by its name, made when it is first asked for."""
    root = tmp_path_factory.mktemp("weights")

    def folder(name: str) -> str:
        if not (root / name).exists():
            torch.manual_seed(0)
            model, processor = MAKERS[name]()
            model.save_pretrained(root / name)
            processor.save_pretrained(root / name)
        return str(root / name)

    return folder


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(things=("car", "cat", "dog", "person"), stuff=("sand", "wall"))


@pytest.fixture
def images() -> list[np.ndarray]:
    """Three of different sizes."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((96, 128), (120, 70), (64, 64))]
