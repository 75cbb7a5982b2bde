"""Merged weights that plain open_clip loads, by the model's name or as a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from torch import nn

from umgclip.errors import InputError
from umgclip.io.atomic import write_json
from umgclip.model import files
from umgclip.model.convpass import WithConvpass


def write_open_clip(clip: nn.Module, base: Path, name: str, folder: Path) -> tuple[str, str]:
    """Write weights, config and tokenizer files into an existing folder.

    `open_clip.create_model("local-dir:FOLDER")` loads it, and so does `create_model(NAME, pretrained=WEIGHTS)`: where
    open_clip does not know the architecture by the base's name, `NAME.json` lies beside the weights, for
    `open_clip.add_model_config`.

    Args:
        clip: the model, its adapter merged in.
        base: folder of the base, whose config and tokenizer it shares.
        name: of the base's architecture.
        folder: to write into.

    Returns:
        The name to give to open_clip, and the weights' SHA-256.

    Raises:
        InputError: the adapter cannot be merged.
    """
    if any(isinstance(module, WithConvpass) for module in clip.modules()):
        raise InputError("--to: expected onnx, for convpass adds layers that open_clip has not; got open_clip")
    config = json.loads((base / files.CONFIG).read_text(encoding="utf-8"))
    digest = files.save(folder, clip, config["model_cfg"])
    for tokenizer in files.TOKENIZER_FILES:
        if (base / tokenizer).is_file():
            shutil.copy2(base / tokenizer, folder / tokenizer)
    if _same(open_clip.get_model_config(name), config["model_cfg"]):
        return name, digest
    own = name if open_clip.get_model_config(name) is None else f"{name}-umgclip"
    write_json(folder / f"{own}.json", config["model_cfg"])
    return own, digest


def _same(known: Mapping[str, Any] | None, config: Mapping[str, Any]) -> bool:
    return known is not None and json.dumps(known, sort_keys=True) == json.dumps(config, sort_keys=True)
