"""A tiny model that answers."""

import pytest
import torch

from umgclip.model import files
from umgclip.params import TowerParams
from umgclip.register.answering import Answerer


@pytest.fixture(scope="module")
def answerer(tiny: TowerParams) -> Answerer:
    """96 px, a grid of 8 x 8, 64 dimensions; three concepts."""
    torch.manual_seed(0)
    clip = files.build(files.tower_config(tiny)).eval()
    return Answerer(clip, vocabulary=("dog", "apple", "sky"), device="cpu")
