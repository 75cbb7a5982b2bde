"""A tiny model that answers."""

from collections.abc import Callable

import pytest
import torch

from umgclip.inference.answerer import Answerer
from umgclip.model.clip import files
from umgclip.params import TowerParams

MakeAnswerer = Callable[..., Answerer]


@pytest.fixture(scope="module")
def make_answerer(tiny: TowerParams) -> MakeAnswerer:
    """96 px, a grid of 8 x 8, 64 dimensions; three concepts."""

    def make(**options: str) -> Answerer:
        torch.manual_seed(0)
        clip = files.build(files.tower_config(tiny)).eval()
        return Answerer(clip, vocabulary=("dog", "apple", "sky"), device="cpu", **options)

    return make


@pytest.fixture(scope="module")
def answerer(make_answerer: MakeAnswerer) -> Answerer:
    """One that squeezes its images."""
    return make_answerer()
