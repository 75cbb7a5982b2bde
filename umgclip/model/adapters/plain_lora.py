"""Merging of a plain LoRA (Hu et al., ICLR 2022) into linear layers, without peft.

peft takes longer to import than everything else that a model needs to answer. What is not exactly the plain case is
left to it (`umgclip.model.adapters.lora_files`), with its checks and its errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_PREFIX = "base_model.model."  # of peft's names
_DECIDES = ("peft_type", "r", "lora_alpha", "target_modules")
# of a config: what says nothing of the deltas of a merged model, and peft's own values of keys that are not empty
_PASSED_BY = (
    "peft_version", "task_type", "base_model_name_or_path", "revision", "inference_mode", "init_lora_weights",
    "auto_mapping", "lora_dropout",
)  # fmt: skip
_USUAL = {"bias": "none", "megatron_core": "megatron.core", "qalora_group_size": 16}


def merge_plain(clip: nn.Module, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> bool:
    """Add `alpha / r * B A` to the weights of the adapted layers and freeze the model, if this is a plain LoRA.

    Args:
        clip: the model, which is changed in place.
        config: content of peft's `adapter_config.json`.
        weights: the tensors beside it by peft's names: A is (r, in) and B is (out, r), both float32.

    Returns:
        True: the weights equal those of peft's `merge_and_unload` to the bit. False: nothing was changed, because the
        config has other options, or the weights are not those of its layers.
    """
    if not _is_plain(config):
        return False
    rank, targets = config["r"], _targets(clip, config["target_modules"])
    names = {name: [f"{_PREFIX}{name}.lora_{factor}.weight" for factor in "AB"] for name in targets}
    if not targets or set(weights) != {name for pair in names.values() for name in pair}:
        return False
    factors = {name: (weights[down], weights[up]) for name, (down, up) in names.items()}
    if not all(_fits(targets[name], rank, *pair) for name, pair in factors.items()):
        return False
    clip.requires_grad_(False)
    scaling = config["lora_alpha"] / rank
    for name, (down, up) in factors.items():
        targets[name].weight.data += (up @ down) * scaling
    return True


def _is_plain(config: Mapping[str, Any]) -> bool:
    rank, alpha, pattern = config.get("r"), config.get("lora_alpha"), config.get("target_modules")
    if config.get("peft_type") != "LORA" or type(rank) is not int or rank < 1 or type(alpha) not in (int, float):
        return False
    if not isinstance(pattern, str) and not (
        isinstance(pattern, list) and all(isinstance(one, str) for one in pattern)
    ):
        return False
    rest = {name: value for name, value in config.items() if name not in _DECIDES + _PASSED_BY}
    return not any(value and _USUAL.get(name) != value for name, value in rest.items())


def _targets(clip: nn.Module, pattern: str | list[str]) -> dict[str, Any]:
    """Return the modules that a pattern or a list of names chooses, as peft does; none where the pattern is none."""
    modules = dict(clip.named_modules())
    if isinstance(pattern, list):
        return {n: m for n, m in modules.items() if any(n == one or n.endswith(f".{one}") for one in pattern)}
    try:
        chosen = re.compile(pattern)
    except re.error:
        return {}
    return {name: module for name, module in modules.items() if chosen.fullmatch(name)}


def _fits(layer: nn.Module, rank: int, down: Tensor, up: Tensor) -> bool:
    if not isinstance(layer, nn.Linear):
        return False
    shapes = tuple(down.shape), tuple(up.shape)
    floats = all(one.dtype == torch.float32 for one in (layer.weight, down, up))
    return floats and shapes == ((rank, layer.in_features), (layer.out_features, rank))
