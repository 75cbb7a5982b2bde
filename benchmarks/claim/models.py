"""The models that the claim compares: training variants, and weights between the base and a tuned model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from umgclip.io.atomic import write_json
from umgclip.model.adapters.adapt import Adapted, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER, TRAIN_REPORT
from umgclip.params import FullParams, TrainParams

BASE, CONTROL, MULTI_GRAIN, TRUE, FULL = "base", "control", "multi_grain", "multi_grain_true", "full"
ALPHAS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Variant:
    """A training variant: its differences from `params.yaml`, and whether its regions are the true ones."""

    name: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    true: bool = False

    def params(self, train: TrainParams, seed: int) -> TrainParams:
        """Return the section `train` with the changes of this variant."""
        values = train.model_dump() | {"seed": seed}
        for name, value in self.changes.items():
            *path, last = name.split(".")
            section = values
            for part in path:
                section = section[part]
            section[last] = value
        return TrainParams.model_validate(values)


# the control has the steps, batches, adapter and image-level terms of the others, and no term that looks at regions
_NO_REGIONS = {f"weights.{name}": 0.0 for name in ("region_text", "region_tags", "pixel", "distill", "relational")}
VARIANTS = (
    Variant(CONTROL, "LoRA, image level only (control)", _NO_REGIONS),
    Variant(MULTI_GRAIN, "LoRA, multi-grain, pseudo-annotations"),
    Variant(TRUE, "LoRA, multi-grain, true annotations", true=True),
    # a tenth of LoRA's learning rate, whose few weights must change more
    Variant(FULL, "all weights, multi-grain, pseudo-annotations", {"adapter": "full", "lr_peak": 5.0e-4}),
)
LABELS = {BASE: "base"} | {variant.name: variant.label for variant in VARIANTS}


@torch.no_grad()
def interpolate(base: Path, tuned: Path, alpha: float, out: Path) -> None:
    """Write weights on the line from the base (0) to a tuned model (1), as WiSE-FT does (Wortsman et al., CVPR 2022).

    Args:
        base: folder of the base.
        tuned: folder that `train` wrote, of LoRA or of all weights.
        alpha: position on the line.
        out: folder to create; `evaluate` reads it like one that `train` wrote.
    """
    clip = files.load(base)[0]
    far = dict(load_tuned(base, tuned / ADAPTER).named_parameters()) if alpha else {}
    for name, parameter in clip.named_parameters():
        parameter.requires_grad_(True)  # only trainable weights are saved
        if alpha and far[name].shape == parameter.shape:  # positions of a larger side stay the base's until loaded
            parameter.lerp_(far[name], alpha)
    out.mkdir(parents=True, exist_ok=True)
    Adapted("full", clip, FullParams().model_dump()).save(out / ADAPTER)
    if (tuned / TRAIN_REPORT).is_file():
        report = json.loads((tuned / TRAIN_REPORT).read_text(encoding="utf-8"))
        write_json(out / TRAIN_REPORT, {key: report[key] for key in ("base_sha256", "image_hw", "dense_reach")})
