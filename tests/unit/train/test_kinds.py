"""The stage with other adapters and towers than the default: convpass, everything, SigLIP's sigmoid, padding."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from umgclip.model.adapters.adapt import adapter_kind, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import ConvpassParams, FullParams, LoraParams, LossWeights, TowerParams, TrainParams
from umgclip.train import stage
from umgclip.train.stage import TrainInputs

CHANGES: dict[str, dict[str, Any]] = {
    "convpass": {"adapter": "convpass", "convpass": ConvpassParams(hidden=4)},
    "full": {"adapter": "full", "lr_peak": 1e-3},
    "full-image": {"adapter": "full", "full": FullParams(text_tower=False), "lr_peak": 1e-3},
    "lora-image": {"lora": LoraParams(rank=4, alpha=8, text_tower=False)},
    "pad": {"resize": "pad", "image_px": 120},
    "recompute": {"adapter": "convpass", "checkpoint_activations": True},
}


def run(params: TrainParams, inputs: TrainInputs, out: Path) -> list[float]:
    totals: list[float] = []
    stage.run(params, inputs, out, report=lambda _, values: totals.append(values["total"]))
    return totals


@pytest.mark.parametrize("name", list(CHANGES))
def test_other_adapters_learn(params: TrainParams, inputs: TrainInputs, tmp_path: Path, name: str) -> None:
    changed = params.model_copy(update=CHANGES[name])
    totals = run(changed, inputs, tmp_path / "train")
    assert len(totals) == params.steps
    adapter = tmp_path / "train" / "adapter"
    kind = "lora" if changed.adapter == "auto" else changed.adapter
    used = json.loads((tmp_path / "train" / "train.json").read_text())["params"]
    assert adapter_kind(adapter) == used["adapter"] == kind
    assert used["resize"] == changed.resize
    tuned, plain = DenseClip(load_tuned(inputs.base, adapter)), DenseClip(files.load(inputs.base)[0])
    image = torch.randn(1, 3, 96, 96)
    tokens = plain.tokenizer(["a dog"])
    with torch.no_grad():
        assert (tuned.encode_image(image)[1] - plain.encode_image(image)[1]).abs().max() > 1e-4
        text_moved = (tuned.encode_text(tokens) - plain.encode_text(tokens)).abs().max() > 1e-5
    assert text_moved == (name in ("full", "pad"))


@pytest.mark.parametrize("trunk", ["siglip", "eva", "convnext"])
def test_other_towers_learn(
    params: TrainParams,
    inputs: TrainInputs,
    tiny: TowerParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trunk: str,
) -> None:
    create = timm.create_model
    small: dict[str, Any] = {"img_size": 96, "embed_dim": 64, "num_heads": 2, "depth": 2}
    shapes = {"convnext_base": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}}
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: create(name, **{**options, **shapes.get(name, small)})
    )
    names = {
        "siglip": ("vit_base_patch16_siglip_224", "map", "none"),
        "eva": ("eva02_base_patch16_clip_224", "token", None),
        "convnext": ("convnext_base", "", "linear"),
    }
    model, pool, proj = names[trunk]
    config = files.tower_config(tiny)
    config["vision_cfg"] = {"timm_model_name": model, "timm_pool": pool, "timm_proj": proj, "image_size": 96}
    if trunk == "siglip":
        config |= {"init_logit_bias": -10.0}
        config["text_cfg"] |= {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
    torch.manual_seed(0)
    base = tmp_path / "base"
    base.mkdir()
    files.save(base, files.build({**config, "custom_text": True}), {**config, "custom_text": True})
    # SigLIP's start is far from balance: a bias of -10 makes every positive pair cost 10 nats
    weights = LossWeights(tags=0, region_tags=0, pixel=0, distill=0, keep=0)
    longer = params.model_copy(update={"steps": 24, "resize": "pad", "weights": weights})
    totals = run(longer, replace(inputs, base=base), tmp_path / "train")
    assert sum(totals[-6:]) < sum(totals[:6])
    tuned = load_tuned(base, tmp_path / "train" / "adapter")
    assert (DenseClip(tuned).pairwise == "sigmoid") == (trunk == "siglip")
