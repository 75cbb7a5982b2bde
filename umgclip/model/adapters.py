"""LoRA adapters of both towers through peft (Hu et al., ICLR 2022), and the way back to plain open_clip.

peft is pointed at each block's whole `attn` module: it then adapts the fused in-projection and the out-projection.
Aimed at `out_proj` alone it would train nothing, because torch's attention never calls that layer's forward.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.model import files
from umgclip.params import LoraParams

_IMAGE = r"visual\.transformer\.resblocks\.\d+\.(attn|mlp\.c_fc|mlp\.c_proj)"
_BOTH = r"(visual\.)?transformer\.resblocks\.\d+\.(attn|mlp\.c_fc|mlp\.c_proj)"
ADAPTER = "adapter"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def add_lora(clip: nn.Module, lora: LoraParams) -> PeftModel:
    """Freeze a CLIP and give its blocks trainable low-rank deltas, in place.

    Raises:
        InputError: a dropout, which peft cannot apply inside the fused attention.
    """
    if lora.dropout:
        raise InputError(f"train.lora.dropout: expected 0, peft has none for fused attention, got {lora.dropout}")
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=_BOTH if lora.text_tower else _IMAGE,
    )
    return get_peft_model(clip, config)


class FrozenAttention:
    """Exact copies of the attention weights under an adapter, to be put back before every forward.

    In each forward peft adds its deltas to the fused weights and takes them off again, and rounding leaves the base a
    little different. Training would go on from weights that no file holds, and a resumed run would end elsewhere.
    """

    def __init__(self, adapted: nn.Module) -> None:
        self._values = {name: value.detach().clone() for name, value in self._frozen(adapted)}

    @staticmethod
    def _frozen(adapted: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in adapted.named_parameters() if ".attn." in name and not p.requires_grad)

    @torch.no_grad()
    def restore(self, adapted: nn.Module) -> None:
        """Put the copies back."""
        for name, parameter in self._frozen(adapted):
            parameter.copy_(self._values[name])


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
