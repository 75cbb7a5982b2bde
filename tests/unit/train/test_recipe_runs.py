"""Recipes for real, small: the same keys with a tiny tower of the same family, few steps and a handful of images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from ruamel.yaml import YAML

from umgclip.cli.project.recipes import params_of
from umgclip.model.clip import files
from umgclip.params import TowerParams, TrainParams, parse_sections
from umgclip.recipes import reading
from umgclip.train import stage
from umgclip.train.stage import TrainInputs

TRUNKS = {
    "EVA02": ("eva02_base_patch16_clip_224", "token", None),
    "SigLIP": ("vit_base_patch16_siglip_224", "map", "none"),
}
SIDES = (48, 96)  # of a run's first and last stage; whole patches of 12 and of 16 px
QUICK = "coco-openai-b16"


def sections(name: str) -> dict[str, Any]:
    return parse_sections(YAML(typ="safe").load(params_of(reading.load(name), "mine")), Path(name))


def shrunken(train: TrainParams) -> TrainParams:
    """The same params with five steps of small batches of small images."""
    stages = [
        one.model_copy(update={"image_px": side, "batch": None if one.batch is None else train.accumulate})
        for one, side in zip(train.stages, SIDES, strict=False)
    ]
    windows = train.windows.model_copy(update={"sides": [108, 144], "stride_px": 18})
    return train.model_copy(
        update={
            "windows": windows,
            "steps": 5, "batch": max(4, train.accumulate), "stages": stages, "device": "cpu", "precision": "fp32",
            "image_px": None if train.image_px is None else SIDES[1], "checkpoint_every": 3,
        }
    )  # fmt: skip


def random_base(model: str, tiny: TowerParams, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base of the same family with random weights."""
    config = files.tower_config(tiny)
    family = next((name for name in TRUNKS if name in model), None)
    if family is not None:
        create, small = timm.create_model, {"img_size": 96, "embed_dim": 64, "num_heads": 2, "depth": 2}
        monkeypatch.setattr(timm, "create_model", lambda name, **options: create(name, **{**options, **small}))
        trunk, pool, proj = TRUNKS[family]
        config["vision_cfg"] = {
            "timm_model_name": trunk, "timm_pool": pool, "timm_proj": proj, "image_size": 96,
        }  # fmt: skip
        config["custom_text"] = True
    if family == "SigLIP":
        config["init_logit_bias"] = -10.0
        config["text_cfg"] |= {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
    torch.manual_seed(0)
    folder.mkdir()
    files.save(folder, files.build(config), config)
    return folder


@pytest.mark.parametrize(
    "name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.heavy) for name in reading.names()]
)
def test_a_recipe_trains(
    name: str, inputs: TrainInputs, tiny: TowerParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = sections(name)
    base = random_base(asked["base"].model, tiny, tmp_path / "random", monkeypatch)
    totals: list[float] = []
    monkeypatch.chdir(tmp_path)  # a cache lies below the project
    train = shrunken(asked["train"])
    stage.run(
        train, replace(inputs, base=base), tmp_path / "train", report=lambda _, values: totals.append(values["total"])
    )
    assert len(totals) == 5
    used = {term for term, weight in train.weights.model_dump().items() if weight}
    assert {term for term in used if f",{term}," in inputs.plots.read_text().splitlines()[0] + ","} == used
