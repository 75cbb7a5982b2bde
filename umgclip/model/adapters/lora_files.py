"""LoRA adapters on disk: peft's two files, and who made them; those of older versions are read as the same model.

Up to version 1 of the format, peft's own layer stood around torch's fused attention. It added the delta of the
out-projection two times (forward and merge computed `W + 2 dW`), so the model of such an adapter is that of one with
doubled out factors.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from umgclip.errors import DataError
from umgclip.io.atomic import write_json
from umgclip.io.json_file import read_object
from umgclip.model.adapters.plain_lora import merge_plain
from umgclip.model.clip.layout import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from umgclip.safe_text import line_of

if TYPE_CHECKING:
    from peft import LoraConfig
else:  # takes seconds to import
    LoraConfig = Any

MADE_BY = "made_by.json"
FORMAT = 2  # of an adapter's folder; 1: peft's layer around torch's fused attention
_LAST_DOUBLING = (0, 21, 2)  # the newest peft that is known to count the out-projection twice
_IN, _OUT = ".attn.lora_", ".attn.base_layer.out_proj.lora_"
_PREFIX = "base_model.model."
# of a config: what decides the deltas, and what says nothing of them
_TAKEN = (
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern",
    "use_rslora", "use_dora", "fan_in_fan_out", "bias", "lora_bias", "modules_to_save", "layers_to_transform",
    "layers_pattern",
)  # fmt: skip
_PASSED_BY = (
    "peft_type", "peft_version", "task_type", "base_model_name_or_path", "revision", "inference_mode",
    "init_lora_weights", "auto_mapping",
)  # fmt: skip


def made_by(kind: str, modules: list[str]) -> dict[str, Any]:
    """Read the origin of an adapter from its folder: format, kind, versions of what computed, modules that learned."""
    versions = {name: _version(name) for name in ("umgclip", "peft", "open_clip_torch", "torch")}
    return {"format": FORMAT, "kind": kind, "versions": versions, "modules": sorted(modules)}


def write_made_by(folder: Path, kind: str, modules: list[str]) -> None:
    """Write it into an adapter's folder."""
    write_json(folder / MADE_BY, made_by(kind, modules))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def merged(clip: nn.Module, adapter: Path) -> nn.Module:
    """Return the model with the adapter's deltas merged into its weights.

    Args:
        clip: with linear attention (`umgclip.model.clip.attention`).
        adapter: folder with peft's two files.

    Raises:
        DataError: it is of a format or a peft whose deltas cannot be told, or its weights are not those of its config.
    """
    _require_known_format(adapter)
    weights = _read_weights(adapter)
    if merge_plain(clip, read_object(adapter / ADAPTER_CONFIG), weights):
        return clip
    from peft import get_peft_model, set_peft_model_state_dict

    config, weights = _present(adapter, weights)
    try:
        wrapped = get_peft_model(clip, config)
        loaded = set_peft_model_state_dict(wrapped, weights)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, re.error) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:200]
        raise DataError(f"{adapter / ADAPTER_WEIGHTS}: does not fit the base: {reason}") from error
    missing = [name for name in loaded.missing_keys if "lora_" in name]
    if odd := [*loaded.unexpected_keys, *missing]:
        raise DataError(
            f"{adapter / ADAPTER_WEIGHTS}: expected the weights of {ADAPTER_CONFIG}, got other names ({odd[0]})"
        )
    tuned: nn.Module = wrapped.merge_and_unload()
    return tuned


def read_lora(adapter: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Read an adapter's config and weights, converted to the present format.

    Raises:
        DataError: not readable, or of an origin whose deltas cannot be told.
    """
    _require_known_format(adapter)
    return _present(adapter, _read_weights(adapter))


def _read_weights(adapter: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load_file(adapter / ADAPTER_WEIGHTS)
    except SafetensorError as error:
        raise DataError(f"{adapter / ADAPTER_WEIGHTS}: not readable: {str(error).splitlines()[0]}") from error
    return weights


def _present(adapter: Path, weights: dict[str, Tensor]) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Convert an adapter's config and weights to the present format."""
    config = _config(adapter / ADAPTER_CONFIG, weights)
    if not is_fused(weights):
        return config, weights
    _require_doubling_peft(adapter)
    weights = from_fused(weights)
    config.target_modules = sorted({name.rsplit(".lora_", 1)[0].removeprefix(_PREFIX) for name in weights})
    return config, weights


def _config(path: Path, weights: dict[str, Tensor]) -> LoraConfig:
    """Read the part of an adapter's config that decides its deltas.

    peft itself would also take the names of Python modules out of it, and import them.
    """
    from peft import LoraConfig

    config, usual = read_object(path), LoraConfig().to_dict()
    odd = [
        n for n, value in config.items() if n not in _TAKEN + _PASSED_BY and value and n in usual and value != usual[n]
    ]
    if config.get("peft_type") != "LORA" or odd:
        name = odd[0] if odd else "peft_type"
        reason = f"{name}: {str(config.get(name))[:80]!r}"
        raise DataError(f"{path}: expected a plain LoRA, got {reason}")
    ranks = [value.shape[0] for name, value in weights.items() if ".lora_A" in name and value.ndim]
    pattern = config.get("rank_pattern") or {}
    asked = [config.get("r", 0), *(pattern.values() if isinstance(pattern, dict) else [pattern])]
    if not all(isinstance(rank, int) and 0 < rank <= max(ranks, default=0) for rank in asked):
        raise DataError(
            f"{path}: r: expected at most {max(ranks, default=0)} as the weights have, got {str(asked)[:80]}"
        )
    try:
        return LoraConfig(**{name: value for name, value in config.items() if name in _TAKEN and name in usual})
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path}: peft refuses it: {line_of(error)}") from error


def is_fused(names: Any) -> bool:  # noqa: ANN401 - anything with names in it
    """Return whether weight names are those of peft's layer around torch's fused attention."""
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
    config = read_object(adapter / MADE_BY)
    if config.get("format") not in range(1, FORMAT + 1):
        versions = config.get("versions")
        maker = versions.get("umgclip", "unknown") if isinstance(versions, dict) else "unknown"
        raise DataError(
            f"{adapter / MADE_BY}: format: expected at most {FORMAT}, got {config.get('format')!r} of umgclip {maker}; "
            "install that version, or train again"
        )


def _require_doubling_peft(adapter: Path) -> None:
    """Refuse fused attention's deltas by a peft that may count them once."""
    config = str(read_object(adapter / ADAPTER_CONFIG).get("peft_version") or "")
    numbers = tuple(int(part) for part in config.split("@")[0].split(".")[:3] if part.isdigit())
    if numbers > _LAST_DOUBLING:
        newest = ".".join(map(str, _LAST_DOUBLING))
        raise DataError(
            f"{adapter / ADAPTER_CONFIG}: peft_version: expected at most {newest} for an adapter of fused attention, "
            f"whose out-projection it counted twice, got {config}, of which that is not known; train again"
        )
