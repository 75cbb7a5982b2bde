"""A CLIP on disk: open_clip's own folder layout (`open_clip_config.json` + safetensors) and its hash.

`open_clip.create_model("local-dir:FOLDER")` loads such a folder.
"""

from __future__ import annotations

import json
import pickle  # noqa: S403 - only the name of its error
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from jaxtyping import Float, Int, UInt8
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.layout import CONFIG, WEIGHTS
from umgclip.params import TowerParams

_TEXTS_KEPT = 1 << 16


def tower_config(tower: TowerParams) -> dict[str, Any]:
    """The open_clip model config of the small tower."""
    return {
        "embed_dim": tower.embed_dim,
        "vision_cfg": {
            "image_size": tower.image_px,
            "patch_size": tower.patch_px,
            "width": tower.width,
            "layers": tower.layers,
            "head_width": tower.width // tower.heads,
        },
        "text_cfg": {
            "context_length": tower.context_length,
            "vocab_size": 49408,
            "width": tower.text_width,
            "heads": tower.text_heads,
            "layers": tower.text_layers,
        },
    }


def build(model_cfg: dict[str, Any]) -> nn.Module:
    """An open_clip `CLIP` with random weights."""
    return open_clip.CLIP(**model_cfg)


def save(folder: Path, clip: nn.Module, model_cfg: dict[str, Any]) -> str:
    """Write config and weights into an existing folder; gives the weights' SHA-256."""
    preprocess = {"mean": list(OPENAI_DATASET_MEAN), "std": list(OPENAI_DATASET_STD)}
    write_json(folder / CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": preprocess})
    state = {name: value.detach().contiguous() for name, value in clip.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    return sha256_file(folder / WEIGHTS)


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a folder written by `save`: the model in eval mode and its config.

    Raises:
        DataError: a file is missing or does not fit.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: expected {name}, found none; `umgclip base` writes it")
    model_cfg = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]
    clip = build(model_cfg)
    try:
        clip.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder / WEIGHTS}: does not fit {CONFIG}: {str(error).splitlines()[0]}") from error
    return clip.eval(), model_cfg


def load_pretrained(name: str, pretrained: str) -> tuple[nn.Module, dict[str, Any]]:
    """An open_clip model by name with a pretrained tag or a checkpoint path.

    Raises:
        InputError: open_clip knows no such model or tag, the model is of another class than open_clip's `CLIP`, or
            the weights cannot be had.
    """
    known = open_clip.get_model_config(name)
    if known is None:
        raise InputError(f"base.model: expected a model of open_clip.list_models(), got {name!r}")
    if known.get("custom_text") or "hf_model_name" in known["text_cfg"]:
        raise InputError(f"base.model: expected a model of open_clip's class CLIP (ViT-B-32, ...), got {name!r}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags and not Path(pretrained).is_file():
        raise InputError(f"base.pretrained: expected scratch, a file or one of {', '.join(tags)}; got {pretrained!r}")
    try:
        clip = open_clip.create_model(name, pretrained=pretrained)
    except (RuntimeError, OSError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(f"base.pretrained: cannot load {pretrained!r} for {name}: {error}") from error
    return clip.eval(), known


class Tokenizer:
    """open_clip's byte-pair tokenizer (bundled with the package) at a model's own context length."""

    def __init__(self, context_length: int) -> None:
        tokenize = open_clip.SimpleTokenizer(context_length=context_length)
        self._one = lru_cache(_TEXTS_KEPT)(lambda text: tokenize([text])[0])
        self._length = context_length

    def __call__(self, texts: list[str]) -> Int[Tensor, "t length"]:
        """Token ids, zero-padded."""
        return torch.stack([self._one(text) for text in texts]) if texts else torch.zeros(0, self._length).long()


def to_input(pixels: UInt8[np.ndarray, "b height width 3"]) -> Float[Tensor, "b 3 height width"]:
    """RGB bytes to the normalised input of a CLIP tower; in numpy, so a feeding thread starts no team of others."""
    mean, std = (np.array(v, np.float32)[:, None, None] * 255 for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
    planes -= mean
    planes /= std
    return torch.from_numpy(planes)
