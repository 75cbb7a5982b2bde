"""Small CLIPs with random weights."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from umgclip.model import files
from umgclip.params import TowerParams

MakeClip = Callable[[int], nn.Module]


@pytest.fixture
def make_clip(tiny: TowerParams) -> MakeClip:
    """A tiny CLIP from a seed, in eval mode; biases and LayerNorms are random too, for zeros and ones hide mistakes."""

    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        clip = files.build(files.tower_config(tiny))
        with torch.no_grad():
            for name, parameter in clip.named_parameters():
                if name != "logit_scale" and parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return clip.eval()

    return make
