"""LoRA adapters of both towers through peft (Hu et al., ICLR 2022), and the way back to plain open_clip.

peft is pointed at each block's whole `attn` module: it then adapts the fused in-projection and the out-projection.
Aimed at `out_proj` alone it would train nothing, because torch's attention never calls that layer's forward.
"""

from __future__ import annotations

import json
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from umgclip.errors import DataError
from umgclip.io.atomic import sha256_file
from umgclip.model import files
from umgclip.params import LoraParams

_IMAGE = r"visual\.transformer\.resblocks\.\d+\.(attn|mlp\.c_fc|mlp\.c_proj)"
_BOTH = r"(visual\.)?transformer\.resblocks\.\d+\.(attn|mlp\.c_fc|mlp\.c_proj)"
ADAPTER = "adapter"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def add_lora(clip: nn.Module, lora: LoraParams) -> PeftModel:
    """Freeze a CLIP and give its blocks trainable low-rank deltas, in place."""
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_BOTH if lora.text_tower else _IMAGE,
    )
    return get_peft_model(clip, config)


def load_tuned(base: Path, adapter: Path) -> nn.Module:
    """The tuned model as plain open_clip: base weights with the adapter merged in, in eval mode.

    Args:
        base: folder written by the stage `base`.
        adapter: folder with peft's `adapter_config.json` and `adapter_model.safetensors`, beside a `train.json`
            that names the base, when there is one.

    Raises:
        DataError: files are missing, or the adapter was trained on another base.
    """
    for name in ("adapter_config.json", ADAPTER_WEIGHTS):
        if not (adapter / name).is_file():
            raise DataError(f"{adapter}: expected {name}, found none; `umgclip train` writes it")
    report = adapter.parent / "train.json"
    if report.is_file():
        wanted = json.loads(report.read_text(encoding="utf-8"))["base_sha256"]
        found = sha256_file(base / files.WEIGHTS)
        if wanted != found:
            raise DataError(f"{adapter}: trained on base weights {wanted[:12]}, got {found[:12]} in {base}")
    clip, _ = files.load(base)
    return PeftModel.from_pretrained(clip, str(adapter)).merge_and_unload().eval()
