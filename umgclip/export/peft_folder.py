"""The LoRA adapter as peft alone loads it, onto the base as open_clip alone loads that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_kind


def write_peft(clip: Any, adapter: Path | None, name: str, folder: Path) -> str:  # noqa: ANN401 - open_clip's models
    """Write `adapter_config.json` and `adapter_model.safetensors` into an existing folder; gives the latter's SHA-256.

    Args:
        clip: the model.
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
    if any(getattr(module, "qkv_bias_separate", False) for module in clip.visual.modules()):
        raise InputError(
            "--to: expected open_clip or onnx, for EVA's fused attention passes an adapter by unless this package "
            "loads it; got peft"
        )
    shutil.copy2(adapter / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    write_json(
        folder / ADAPTER_CONFIG, {**config, "base_model_name_or_path": config["base_model_name_or_path"] or name}
    )
    return sha256_file(folder / ADAPTER_WEIGHTS)
