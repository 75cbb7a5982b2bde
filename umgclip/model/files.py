"""A CLIP on disk: open_clip's own folder layout (`open_clip_config.json` + safetensors) and its hash.

`open_clip.create_model("local-dir:FOLDER")` loads such a folder. A tokenizer that open_clip does not bring along has
its files beside them.
"""

from __future__ import annotations

import copy
import json
import pickle  # noqa: S403 - only the name of its error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file, write_json
from umgclip.model import foreign
from umgclip.model.layout import CONFIG, WEIGHTS
from umgclip.model.preprocess import Preprocess, to_input
from umgclip.model.tokenizer import TOKENIZER_FILES, Tokenizer, read_tokenizer
from umgclip.params import TowerParams

__all__ = [
    "CONFIG",
    "TOKENIZER_FILES",
    "WEIGHTS",
    "Tokenizer",
    "build",
    "load",
    "load_pretrained",
    "needs_tokenizer_files",
    "save",
    "save_tokenizer",
    "to_input",
    "tower_config",
]


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


def build(model_cfg: Mapping[str, Any]) -> nn.Module:
    """An open_clip model with random weights; nothing is downloaded.

    Raises:
        InputError: the config asks for a class without a text tower of its own (CoCa), or for files of the hub that
            cannot be had.
    """
    config = copy.deepcopy(dict(model_cfg))
    custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    if "multimodal_cfg" in config:
        raise InputError("base.model: expected open_clip's CLIP or CustomTextCLIP (ViT-B-32, ...), got a CoCa")
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"]["hf_model_pretrained"] = False
    try:
        return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    except OSError as error:
        raise InputError(f"base.model: cannot build its text tower: {str(error).splitlines()[0]}") from error


def save(folder: Path, clip: nn.Module, model_cfg: Mapping[str, Any]) -> str:
    """Write config and weights into an existing folder; gives the weights' SHA-256."""
    given = getattr(clip.visual, "preprocess_cfg", None)
    plain = Preprocess.of(None)
    preprocess = given or {"mean": list(plain.mean), "std": list(plain.std)}
    write_json(folder / CONFIG, {"model_cfg": dict(model_cfg), "preprocess_cfg": dict(preprocess)})
    state = {name: value.detach().contiguous() for name, value in clip.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    return sha256_file(folder / WEIGHTS)


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a folder written by `save`: the model in eval mode, which knows its preprocessing and tokenizer, its config.

    Raises:
        DataError: a file is missing or does not fit.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: expected {name}, found none; `umgclip base` writes it")
    content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    clip = build(content["model_cfg"])
    try:
        clip.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder / WEIGHTS}: does not fit {CONFIG}: {str(error).splitlines()[0]}") from error
    _describe(clip, content["model_cfg"], content.get("preprocess_cfg"), folder)
    return clip.eval(), content["model_cfg"]


def _describe(clip: Any, model_cfg: Mapping[str, Any], preprocess: Any, folder: Path | None) -> None:  # noqa: ANN401
    """Write down on the model what its inputs have to be, as open_clip does."""
    if preprocess:
        clip.visual.preprocess_cfg = dict(preprocess)
    clip.umgclip_tokenizer = Tokenizer(int(clip.context_length), model_cfg["text_cfg"], folder)


def load_pretrained(name: str, pretrained: str) -> tuple[nn.Module, dict[str, Any]]:
    """An open_clip model by name with a pretrained tag, a checkpoint's path, or the path of a whole model folder.

    Args:
        name: as in `open_clip.list_models()`; of no effect for a folder, whose config says what it is.
        pretrained: a tag, a file (with open_clip's names, EVA-CLIP's or Hugging Face's), or a folder with
            `open_clip_config.json`.

    Raises:
        InputError: open_clip knows no such model or tag, or the weights cannot be had.
    """
    if (Path(pretrained) / CONFIG).is_file():
        return _load_any(f"local-dir:{pretrained}", pretrained, None)
    known = open_clip.get_model_config(name)
    if known is None:
        raise InputError(f"base.model: expected a model of open_clip.list_models(), got {name!r}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags and not Path(pretrained).is_file():
        raise InputError(
            f"base.pretrained: expected scratch, a file, a folder with {CONFIG} or one of {', '.join(tags)}; "
            f"got {pretrained!r}"
        )
    if Path(pretrained).is_file() and (weights := foreign.read(Path(pretrained))) is not None:
        clip = open_clip.create_model(name)
        foreign.load(clip, weights, pretrained)
        _describe(clip, known, clip.visual.preprocess_cfg, None)
        return clip.eval(), known
    # a tag trained with QuickGELU needs it, whatever the model's name says
    tag = open_clip.get_pretrained_cfg(name, pretrained) or {}
    return _load_any(name, pretrained, bool(tag.get("quick_gelu", False)))


def _load_any(source: str, pretrained: str, quick_gelu: bool | None) -> tuple[nn.Module, dict[str, Any]]:
    config = open_clip.get_model_config(source)
    if "multimodal_cfg" in config:
        raise InputError(
            f"base.model: expected open_clip's CLIP or CustomTextCLIP (ViT-B-32, ...), got {source!r}, a CoCa"
        )
    if quick_gelu:
        config["quick_gelu"] = True
    folder = source.startswith("local-dir:")
    try:
        clip = open_clip.create_model(
            source,
            pretrained=None if folder else pretrained,
            force_quick_gelu=bool(quick_gelu),
            require_pretrained=True,
        )
    except (RuntimeError, OSError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        name = config.get("name", source)
        raise InputError(f"base.pretrained: cannot load {pretrained!r} for {name}: {error}") from error
    _describe(clip, config, clip.visual.preprocess_cfg, Path(pretrained) if folder else None)
    return clip.eval(), config


def needs_tokenizer_files(model_cfg: Mapping[str, Any]) -> bool:
    """Whether the model's texts go through a tokenizer that open_clip does not bring along."""
    return bool(model_cfg["text_cfg"].get("hf_tokenizer_name"))


def save_tokenizer(folder: Path, model_cfg: Mapping[str, Any], source: str | None) -> None:
    """Put the files of a model's tokenizer into its folder.

    Args:
        folder: the model's.
        model_cfg: its config.
        source: a folder that has the files; None fetches what the config names.

    Raises:
        InputError: the files cannot be had.
    """
    text = model_cfg["text_cfg"]
    wanted = source or str(text["hf_tokenizer_name"])
    read_tokenizer(wanted, text, int(text.get("context_length", 77))).save_pretrained(str(folder))
