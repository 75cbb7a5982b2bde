"""Export of merged weights that plain open_clip loads, by the model's name or as a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umgclip.errors import InputError
from umgclip.io.atomic import fresh_folder, write_json
from umgclip.model.adapters.convpass import WithConvpass
from umgclip.model.clip import files
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import Usage, write_usage


def write_open_clip(tower: DenseClip, usage: Usage, name: str, folder: Path) -> tuple[str, str]:
    """Write weights, config and tokenizer files into an existing folder.

    `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads it with its transform, and `create_model(NAME,
    pretrained=WEIGHTS)` the model alone. If open_clip does not know the architecture by the base's name, the folder
    also holds `NAME.json` for `open_clip.add_model_config`. `umgclip_preprocess.json` holds the settings for which
    open_clip's config has no field.

    Args:
        tower: the model, with its adapter merged in.
        usage: how images and labels reach it.
        name: name of the base's architecture.
        folder: existing folder to write into.

    Returns:
        The name of the model for open_clip, and the SHA-256 of the weights.

    Raises:
        InputError: the adapter cannot be merged, or the model was made in memory.
    """
    clip = tower.clip
    if any(isinstance(module, WithConvpass) for module in clip.modules()):
        raise InputError("--to: expected onnx, because convpass adds layers that open_clip lacks; got open_clip")
    config = getattr(clip, "umgclip_config", None)
    if config is None:
        raise InputError("model: expected one that was loaded by umgclip.load, got one that was made in memory")
    digest = files.save(folder, clip, config, usage.preprocess.for_open_clip(tower.image_hw))
    tower.tokenizer.save(folder)
    write_usage(folder, tower, usage, digest)
    if _same(open_clip.get_model_config(name), config):
        return name, digest
    registered = name if open_clip.get_model_config(name) is None else f"{name}-umgclip"
    write_json(folder / f"{registered}.json", config)
    return registered, digest


def save_model(tower: DenseClip, usage: Usage, folder: Path) -> None:
    """Write the files of `write_open_clip` into a new folder, completely or not at all.

    Raises:
        InputError: the folder is not empty, or see `write_open_clip`.
        OutputError: the folder cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"folder: expected a new or empty folder, got {folder}, which holds files; choose another")
    with fresh_folder(folder) as working:
        write_open_clip(tower, usage, "umgclip-export", working)


def _same(known: Mapping[str, Any] | None, config: Mapping[str, Any]) -> bool:
    return known is not None and json.dumps(known, sort_keys=True) == json.dumps(config, sort_keys=True)
