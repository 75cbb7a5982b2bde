"""Small CLIPs with random weights."""

from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import timm
import torch
from torch import nn

from umgclip.model.clip import files
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


MakeNamed = Callable[[str], nn.Module]
WORDS = 2000  # of 49,408 or 256,000: most of a short model would be rows that no test reads


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Configs of open_clip's models with two blocks an image tower (four for a ConvNeXt), one a text tower."""
    create = timm.create_model

    def shorter(name: str, **options: object) -> nn.Module:
        depth = {"depths": (1, 1, 1, 1)} if "convnext" in name else {"depth": 2}
        return create(name, **{**options, **depth})

    monkeypatch.setattr(timm, "create_model", shorter)

    def config(name: str) -> dict[str, Any]:
        found = open_clip.get_model_config(name)
        found["text_cfg"]["layers"] = 1
        found["text_cfg"]["vocab_size"] = WORDS
        if "timm_model_name" not in found["vision_cfg"]:
            found["vision_cfg"]["layers"] = 2
        return found

    return config


@pytest.fixture
def make_named(shallow: Callable[[str], dict[str, Any]]) -> MakeNamed:
    """One of open_clip's architectures, short, with random weights, also where zeros and ones would hide mistakes."""

    def make(name: str) -> nn.Module:
        torch.manual_seed(0)
        clip = files.build(shallow(name))
        with torch.no_grad():
            for parameter_name, parameter in clip.named_parameters():
                if not parameter_name.startswith("logit_") and parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
                if name.startswith("PE-") and parameter_name.startswith("visual.") and parameter.ndim > 1:
                    parameter.mul_(5)  # timm's start is so small that all images look the same
        return clip.eval()

    return make
