"""The stage with token clustering: what it is trained with is what it is read with, wherever it goes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import umgclip
from umgclip.cli.exporting import export
from umgclip.errors import DataError, InputError
from umgclip.inference.answerer import Answerer
from umgclip.io.atomic import write_json
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.clustered import set_clustering
from umgclip.model.clip.layout import CONFIG, TRAIN_REPORT, USAGE
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.clustering import clustering_of
from umgclip.params import ClusteringParams, TrainParams
from umgclip.train import stage
from umgclip.train.stage import TrainInputs

CLUSTERING = ClusteringParams(after_block=1, grid=[4, 5], iterations=2, temperature=0.5, neighbours=3)


def run(params: TrainParams, inputs: TrainInputs, out: Path) -> list[float]:
    totals: list[float] = []
    stage.run(params, inputs, out, report=lambda _, values: totals.append(values["total"]))
    return totals


@pytest.fixture
def clustered(params: TrainParams, inputs: TrainInputs, deep: Path) -> tuple[TrainParams, TrainInputs]:
    return params.model_copy(update={"clustering": CLUSTERING, "steps": 3}), replace(inputs, base=deep)


def test_a_model_is_read_as_it_was_trained(
    clustered: tuple[TrainParams, TrainInputs], deep: Path, tmp_path: Path
) -> None:
    params, inputs = clustered
    root = tmp_path / "artifacts"
    root.mkdir()
    (root / "base").symlink_to(deep)
    run(params, inputs, root / "train")
    tuned = load_tuned(deep, root / "train" / "adapter")
    assert clustering_of(tuned.visual) == CLUSTERING
    assert clustering_of(files.load(deep)[0].visual) is None
    images = torch.randn(2, 3, 96, 96)
    tower = DenseClip(tuned)
    with torch.no_grad():
        wanted = tower.encode_image(images)
        set_clustering(tuned, None)
        assert (tower.encode_image(images)[1] - wanted[1]).abs().max() > 1e-3
    for name in ("open_clip", "peft"):
        export(root, None, name, tmp_path / name)
        assert json.loads((tmp_path / name / USAGE).read_text())["clustering"] == CLUSTERING.model_dump()
    read = {
        "pipeline": umgclip.load(root, device="cpu").tower,
        "open_clip": umgclip.load(tmp_path / "open_clip", device="cpu").tower,
        "peft": umgclip.load(deep, adapter=tmp_path / "peft", device="cpu").tower,
        "served": Answerer.load(deep, root / "train" / "adapter", device="cpu")._tower,
    }
    for name, other in read.items():
        with torch.no_grad():
            outputs = other.encode_image(images)
        for one, two in zip(outputs, wanted, strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_micro_batches_have_the_loss_of_the_whole(
    clustered: tuple[TrainParams, TrainInputs], tmp_path: Path, resize: str
) -> None:
    params, inputs = clustered
    params = params.model_copy(update={"resize": resize})
    whole = run(params, inputs, tmp_path / "whole")
    parts = run(params.model_copy(update={"accumulate": 2}), inputs, tmp_path / "parts")
    assert parts == pytest.approx(whole, rel=1e-5)
    plain = run(params.model_copy(update={"clustering": None}), inputs, tmp_path / "plain")
    assert whole[0] != pytest.approx(plain[0], rel=1e-6)


def test_a_tower_without_room_for_clusters_is_refused(
    clustered: tuple[TrainParams, TrainInputs], base: Path, tmp_path: Path
) -> None:
    params, inputs = clustered
    with pytest.raises(InputError, match="train.clustering.after_block: expected at most 0, .* model's 2 .* got 1"):
        run(params, replace(inputs, base=base), tmp_path / "train")


def test_a_damaged_record_names_its_key(clustered: tuple[TrainParams, TrainInputs], tmp_path: Path) -> None:
    params, inputs = clustered
    out = tmp_path / "train"
    run(params.model_copy(update={"steps": 1}), inputs, out)
    report = json.loads((out / TRAIN_REPORT).read_text())
    report["clustering"]["grid"] = 0
    write_json(out / TRAIN_REPORT, report)
    with pytest.raises(DataError, match=r"train.json: clustering.grid.*greater than 0"):
        load_tuned(inputs.base, out / "adapter")


def test_a_whole_model_keeps_it_in_open_clips_config(deep: Path, tmp_path: Path) -> None:
    clip, config = files.load(deep)
    files.save(tmp_path, clip, config)
    assert "clustering" not in json.loads((tmp_path / CONFIG).read_text())[files.OWN]
    set_clustering(clip, CLUSTERING)
    files.save(tmp_path, clip, config)
    assert clustering_of(files.load(tmp_path)[0].visual) == CLUSTERING
