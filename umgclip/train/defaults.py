"""The values that `auto` in the section `train` stands for, by base: adapter and learning rate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from umgclip.errors import InputError
from umgclip.learning.counts import WITH_LONG, WITH_NEGATIVES
from umgclip.model.clip.layout import CONFIG
from umgclip.params import SCRATCH, TrainParams
from umgclip.train.resolutions import resolutions

_RATES: dict[bool, dict[str, float]] = {
    # the small model from scratch, as tuned on the demo; all weights at a tenth of it (docs/claim.md)
    True: {"lora": 7.0e-3, "convpass": 5.0e-3, "full": 5.0e-4},
    # pretrained ones: LoRA as in CLIP-LoRA (Zanella & Ben Ayed, CVPRW 2024), Convpass below its paper's 1e-3 as a few
    # hundred steps are few, all weights as in FLIP and CLIPSelf (1e-5)
    False: {"lora": 2.0e-4, "convpass": 5.0e-4, "full": 1.0e-5},
}
# of open_clip's configs: blocks with an attention of its own, which has no linear in-projection for LoRA
_OWN_ATTENTION = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")


def resolved(params: TrainParams, base: Path) -> TrainParams:
    """Replace each `auto` that depends on the base by its value; keep numbers as they are.

    Args:
        params: the section `train`.
        base: folder of the base.

    Raises:
        InputError: the weights of all losses are 0.
    """
    _require_something_to_learn(params)
    adapter = params.adapter if params.adapter != "auto" else _adapter(_model_cfg(base))
    rate = params.lr_peak if params.lr_peak != "auto" else _RATES[from_scratch(base)][adapter]
    return params.model_copy(update={"adapter": adapter, "lr_peak": rate})


def from_scratch(base: Path) -> bool:
    """Check whether a base is the small model that the stage `base` trains; all others saw more data."""
    report = base / "base.json"
    return report.is_file() and json.loads(report.read_text(encoding="utf-8")).get("pretrained") == SCRATCH


def told(asked: TrainParams, used: TrainParams, base: Path) -> tuple[tuple[str, str], ...]:
    """Return summary rows with the adapter and the rate, and whether `auto` chose them."""
    kind = "from scratch" if from_scratch(base) else "pretrained"
    why = f" (auto: base {kind})"
    return (
        ("adapter", f"{used.adapter}{why if asked.adapter == 'auto' else ''}"),
        ("learning rate", f"{used.rate:.1e}{why if asked.lr_peak == 'auto' else ''}"),
    )


def warnings(params: TrainParams, samples: int) -> list[str]:
    """Return warnings about values that are allowed but rarely intended."""
    messages = []
    contrast = any((params.weights.image_text, params.weights.region_text, params.weights.tags))
    for at in resolutions(params):
        if at.batch == 1 and contrast:
            messages.append(f"{at.key}.batch: 1: contrastive losses learn nothing from one image per batch; raise it")
        if at.batch > samples:
            messages.append(
                f"{at.key}.batch: {at.batch}: more than the {samples} images there are, so images repeat in a batch"
            )
    if params.weights.tic and not _text_tower_learns(params):
        messages.append("train.weights.tic: it moves texts only, and the text tower is frozen; set it to 0")
    alone = not any(weight for name, weight in params.weights.model_dump().items() if name != "patch_ema")
    if params.weights.patch_ema and params.patch_ema.average == "head" and alone:
        messages.append(
            "train.weights.patch_ema: alone, with train.patch_ema.average: head, the image tower may collapse, since "
            "it is its own teacher; set average: tower, or another weight, such as image_text"
        )
    return messages


def idle(params: TrainParams, seen: Mapping[str, int]) -> list[str]:
    """Return warnings about terms that a run had nothing for, by the counts of what it has seen."""
    needs = {
        "hard_negatives": (WITH_NEGATIVES, "region with wrong texts (`negatives`)"),
        "cmr": (WITH_NEGATIVES, "region with wrong texts (`negatives`)"),
        "long_text": (WITH_LONG, f"caption of {params.long_caption_words} words or more"),
    }
    return [
        f"train.weights.{name}: the data have no {what}, so the term was 0 throughout"
        for name, (count, what) in needs.items()
        if getattr(params.weights, name) and not seen.get(count)
    ]


def _text_tower_learns(params: TrainParams) -> bool:
    by_adapter = {"lora": params.lora.text_tower, "full": params.full.text_tower}
    return by_adapter.get(params.adapter, params.adapter == "auto")


def _require_something_to_learn(params: TrainParams) -> None:
    weights = params.weights.model_dump()
    if not any(weights.values()):
        raise InputError(
            f"train.weights: expected a weight above 0, got 0 for all of {', '.join(weights)}; "
            "set at least one of them above 0"
        )


def _adapter(model_cfg: Mapping[str, Any]) -> Literal["lora", "convpass"]:
    towers = [model_cfg.get(name) or {} for name in ("vision_cfg", "text_cfg")]
    own_attention = any(tower.get("block_type") == "custom" or any(map(tower.get, _OWN_ATTENTION)) for tower in towers)
    return "convpass" if own_attention else "lora"


def _model_cfg(base: Path) -> Mapping[str, Any]:
    path = base / CONFIG
    if not path.is_file():
        return {}  # refused where the base is read
    model_cfg: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
    return model_cfg
