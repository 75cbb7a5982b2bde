"""Export of the LoRA adapter for peft alone, on open_clip's model with linear attention.

Torch's fused attention, as in open_clip's own blocks, does not call its projections, so plain LoRA layers have no
effect there: apply `umgclip.model.clip.attention.with_linear_attention` first. timm's towers need no change.
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
    """Write `adapter_config.json` and `adapter_model.safetensors` into a folder and return the latter's SHA-256.

    Args:
        tower: the model.
        usage: how images and labels reach it; written as `umgclip_preprocess.json`.
        adapter: folder of the adapter.
        name: name of the base, noted in the config.
        folder: existing folder to write into.

    Raises:
        InputError: there is no adapter, or peft alone cannot use it.
    """
    kind = "no adapter" if adapter is None else adapter_kind(adapter)
    if adapter is None or kind != "lora":
        raise InputError(
            f"--to: expected open_clip or onnx, because peft saves adapters of the kind lora, not {kind}; got peft"
        )
    if any(getattr(module, "qkv_bias_separate", False) for module in tower.clip.visual.modules()):
        raise InputError(
            "--to: expected open_clip or onnx, because EVA's fused attention ignores an adapter unless this package "
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
