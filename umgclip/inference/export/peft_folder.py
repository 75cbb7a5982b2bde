"""The LoRA adapter as peft alone loads it, onto open_clip's model with linear attention.

Torch's fused attention, which open_clip's own blocks have, calls none of its projections, so no plain LoRA layer has an
effect in it: `umgclip.model.clip.attention.with_linear_attention` comes first. timm's towers need nothing.
"""

from __future__ import annotations

from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.atomic import open_to_others
from umgclip.io.weights import write_weights
from umgclip.model.adapters.adapt import adapter_kind
from umgclip.model.adapters.lora_files import read_lora
from umgclip.model.clip.layout import ADAPTER_WEIGHTS
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import Usage, write_usage


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
    config, weights = read_lora(adapter)
    config.base_model_name_or_path = config.base_model_name_or_path or name
    config.inference_mode = True
    config.save_pretrained(str(folder))
    open_to_others(folder)
    digest = write_weights(folder / ADAPTER_WEIGHTS, weights)
    write_usage(folder, tower, usage, digest)
    return digest
