"""LoRA adapters on disk: peft's two files, and who made them; those of older versions are read as the same model.

Up to version 1 of the format, peft's own layer stood around torch's fused attention. It added the delta of the
out-projection two times (forward and merge computed `W + 2 dW`), so the model of such an adapter is that of one with
doubled out factors.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import peft
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from umgclip.errors import DataError
from umgclip.io.atomic import write_json
from umgclip.model.layout import ADAPTER_CONFIG, ADAPTER_WEIGHTS

MADE_BY = "made_by.json"
FORMAT = 2  # of an adapter's folder; 1: peft's layer around torch's fused attention
_LAST_DOUBLING = (0, 21, 2)  # the newest peft that is known to count the out-projection twice
_IN, _OUT = ".attn.lora_", ".attn.base_layer.out_proj.lora_"
_PREFIX = "base_model.model."


def made_by(kind: str, modules: list[str]) -> dict[str, Any]:
    """What an adapter's folder says of its origin: format, kind, versions of what computed, modules that learned."""
    versions = {name: _version(name) for name in ("umgclip", "peft", "open_clip_torch", "torch")}
    return {"format": FORMAT, "kind": kind, "versions": versions, "modules": sorted(modules)}


def write_made_by(folder: Path, kind: str, modules: list[str]) -> None:
    """Write it into an adapter's folder."""
    write_json(folder / MADE_BY, made_by(kind, modules))


def _version(name: str) -> str:
    if name == "peft":
        return str(peft.__version__)
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def merged(clip: nn.Module, adapter: Path) -> nn.Module:
    """The model with an adapter's deltas in its weights.

    Args:
        clip: with linear attention (`umgclip.model.attention`).
        adapter: folder with peft's two files.

    Raises:
        DataError: it is of a format or a peft whose deltas cannot be told, or its weights are not those of its config.
    """
    config, weights = read_lora(adapter)
    try:
        wrapped: PeftModel = get_peft_model(clip, config)
        found = set_peft_model_state_dict(wrapped, weights)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:200]
        raise DataError(f"{adapter / ADAPTER_WEIGHTS}: does not fit the base: {reason}") from error
    missing = [name for name in found.missing_keys if "lora_" in name]
    if odd := [*found.unexpected_keys, *missing]:
        raise DataError(
            f"{adapter / ADAPTER_WEIGHTS}: expected the weights of {ADAPTER_CONFIG}, got other names ({odd[0]})"
        )
    tuned: nn.Module = wrapped.merge_and_unload()
    return tuned


def read_lora(adapter: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """An adapter's config and weights, in the form of today.

    Raises:
        DataError: not readable, or of an origin whose deltas cannot be told.
    """
    _require_known_format(adapter)
    try:
        weights: dict[str, Tensor] = load_file(adapter / ADAPTER_WEIGHTS)
    except SafetensorError as error:
        raise DataError(f"{adapter / ADAPTER_WEIGHTS}: not readable: {str(error).splitlines()[0]}") from error
    config = LoraConfig.from_pretrained(str(adapter))
    config.inference_mode = False
    if not is_fused(weights):
        return config, weights
    _require_doubling_peft(adapter)
    weights = from_fused(weights)
    config.target_modules = sorted({name.rsplit(".lora_", 1)[0].removeprefix(_PREFIX) for name in weights})
    return config, weights


def is_fused(names: Any) -> bool:  # noqa: ANN401 - anything with names in it
    """Whether names of weights are those of peft's layer around torch's fused attention."""
    return any(_IN in name or _OUT in name for name in names)


def from_fused(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of peft's layer around torch's fused attention as those of two linear layers of the same model."""
    linear = {}
    for name, value in weights.items():
        doubled = _OUT in name and ".lora_B" in name
        renamed = name.replace(_OUT, ".attn.out_proj.lora_").replace(_IN, ".attn.in_proj.lora_")
        linear[renamed] = 2 * value if doubled else value
    return linear


def _require_known_format(adapter: Path) -> None:
    if not (adapter / MADE_BY).is_file():
        return  # peft's own, or older than the file
    said = json.loads((adapter / MADE_BY).read_text(encoding="utf-8"))
    if said.get("format") not in range(1, FORMAT + 1):
        maker = said.get("versions", {}).get("umgclip", "unknown")
        raise DataError(
            f"{adapter / MADE_BY}: format: expected at most {FORMAT}, got {said.get('format')!r} of umgclip {maker}; "
            "install that version, or train again"
        )


def _require_doubling_peft(adapter: Path) -> None:
    """Refuse fused attention's deltas by a peft that may count them once."""
    said = str(json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("peft_version") or "")
    numbers = tuple(int(part) for part in said.split("@")[0].split(".")[:3] if part.isdigit())
    if numbers > _LAST_DOUBLING:
        newest = ".".join(map(str, _LAST_DOUBLING))
        raise DataError(
            f"{adapter / ADAPTER_CONFIG}: peft_version: expected at most {newest} for an adapter of fused attention, "
            f"whose out-projection it counted twice, got {said}, of which that is not known; train again"
        )
