"""The LoRA adapter as peft alone loads it, onto the base as open_clip alone loads that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_kind
from umgclip.model.tower import DenseClip
from umgclip.model.usage import Usage, write_usage


def write_peft(tower: DenseClip, usage: Usage, adapter: Path | None, name: str, folder: Path) -> str:
    """Write `adapter_config.json` and `adapter_model.safetensors` into an existing folder; gives the latter's SHA-256.

    Args:
        tower: the model.
        usage: how images and labels reach it; written as `umgclip_preprocess.json`.
        adapter: the adapter's folder.
        name: of the base, written down as a note.
        folder: to write into.

    Raises:
        InputError: there is no adapter, or peft alone could not use it.
    """
    kind = "no adapter" if adapter is None else adapter_kind(adapter)
    if adapter is None or kind != "lora":
        raise InputError(
            f"--to: expected open_clip or onnx, for peft keeps adapters of the kind lora, not {kind}; got peft"
        )
    if any(getattr(module, "qkv_bias_separate", False) for module in tower.clip.visual.modules()):
        raise InputError(
            "--to: expected open_clip or onnx, for EVA's fused attention passes an adapter by unless this package "
            "loads it; got peft"
        )
    shutil.copy2(adapter / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    write_json(
        folder / ADAPTER_CONFIG, {**config, "base_model_name_or_path": config["base_model_name_or_path"] or name}
    )
    write_usage(folder, tower, usage)
    return sha256_file(folder / ADAPTER_WEIGHTS)
