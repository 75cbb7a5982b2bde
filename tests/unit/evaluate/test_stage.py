"""The whole stage on a tiny demo with tiny random weights."""

import csv
import hashlib
import json
import shutil

import pytest
import torch
from PIL import Image

from umgclip.errors import DataError, InputError
from umgclip.evaluate.stage import EvaluateInputs, run
from umgclip.evaluate.suite import PROTOCOLS
from umgclip.manifest import read_manifest, write_manifest
from umgclip.model import files
from umgclip.model.adapters import add_lora
from umgclip.params import DataParams, EvaluateParams, LoraParams, TowerParams
from umgclip.sources.demo import write_demo

PARAMS = EvaluateParams(pictures=2)
REGION = {
    f"{readout}_top1{group}" for readout in ("box", "mask", "crop", "maskout") for group in ("", "_seen", "_heldout")
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A demo of six scenes and three singles, a base, an adapter that changes it, and the truth as proposals."""
    root = tmp_path_factory.mktemp("world")
    write_demo(DataParams(train_scenes=1, benchmark_scenes=6, benchmark_singles=3), root / "data")
    tower = TowerParams(
        width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
    )
    torch.manual_seed(0)
    model_cfg = files.tower_config(tower)
    clip = files.build(model_cfg)
    (root / "base").mkdir()
    files.save(root / "base", clip, model_cfg)
    adapted = add_lora(clip, LoraParams(rank=4, alpha=8))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    adapted.save_pretrained(str(root / "train" / "adapter"))
    for name in ("annotations", "proposals"):
        shutil.copytree(root / "data" / "benchmark", root / name)
    return root


def inputs_of(root, benchmark=None, proposals=None, metrics=None):
    return EvaluateInputs(
        base=root / "base",
        adapter=root / "train",
        benchmark=benchmark or root / "data" / "benchmark",
        annotations=root / "annotations",
        proposals=proposals or root / "proposals",
        metrics=metrics or root / "metrics" / "evaluate.json",
    )


@pytest.fixture(scope="module")
def done(world):
    """The stage, run once: its folder, its metrics, its summary and the images it counted."""
    counted = []
    summary = run(PARAMS, inputs_of(world), world / "out", advance=counted.append)
    metrics = json.loads((world / "metrics" / "evaluate.json").read_text(encoding="utf-8"))
    return world / "out", metrics, summary, sum(counted)


def test_metrics_hold_every_benchmark_of_both_models(done):
    _, metrics, _, counted = done
    assert counted == 9
    assert set(metrics) == {"base", "tuned", "annotator", "protocol"}
    for model in ("base", "tuned"):
        assert set(metrics[model]) == set(PROTOCOLS)
        assert set(metrics[model]["region"]) == REGION
        assert set(metrics[model]["retrieval"]) == {f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)}
        values = [value for group in metrics[model].values() for value in group.values()]
        assert all(0 <= value <= 1 and value == round(value, 6) for value in values)
    assert metrics["base"] != metrics["tuned"]
    # the truth served as proposals
    assert set(metrics["annotator"].values()) == {1.0}


def test_protocol_names_what_the_numbers_depend_on(done, world):
    _, metrics, _, _ = done
    protocol = metrics["protocol"]
    assert protocol["settings"]["stuff_templates"] == "{} | on {}"
    assert {"image_px", "crop_px", "crop_frame", "maskout_frame"} <= set(protocol["settings"])
    assert protocol["benchmark"]["sha256"] == read_manifest(world / "data" / "benchmark").digest()
    assert (protocol["benchmark"]["scenes"], protocol["benchmark"]["singles"]) == (6, 3)
    weights = (world / "base" / files.WEIGHTS).read_bytes()
    assert protocol["inputs"]["base_sha256"] == hashlib.sha256(weights).hexdigest()


def test_plots_hold_the_same_numbers(done):
    out, metrics, _, _ = done
    for benchmark in PROTOCOLS:
        with (out / "plots" / f"{benchmark}.csv").open(encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        assert {(row["model"], row["metric"]): float(row["value"]) for row in rows} == {
            (model, metric): value for model in ("base", "tuned") for metric, value in metrics[model][benchmark].items()
        }
    with (out / "plots" / "singles_confusion.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["actual"] for row in rows[:3]] == ["dog", "cat", "mouse"]


def test_every_benchmark_has_a_picture_and_the_overview_is_small(done):
    out, _, _, _ = done
    assert {path.stem for path in (out / "pictures").glob("*.png")} == {*PROTOCOLS, "overview"}
    for path in (out / "pictures").glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    assert (out / "pictures" / "overview.png").stat().st_size < 300_000


def test_protocol_sentences_are_written_beside(done):
    out, _, _, _ = done
    assert set(json.loads((out / "protocol.json").read_text(encoding="utf-8"))) == {*PROTOCOLS, "annotator"}


def test_summary_shows_base_and_tuned(done):
    _, _, summary, _ = done
    assert "region mask_top1" in dict(summary.rows)
    assert " -> " in dict(summary.rows)["classification top1"]


def test_a_second_run_gives_the_same_bytes(done, world, tmp_path):
    out, _, _, _ = done
    run(PARAMS, inputs_of(world, metrics=tmp_path / "m.json"), tmp_path / "again")
    assert (tmp_path / "m.json").read_bytes() == (world / "metrics" / "evaluate.json").read_bytes()
    for path in (p for p in out.rglob("*") if p.is_file()):
        assert (tmp_path / "again" / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


def test_proposals_on_other_images_are_named(world, kit, tmp_path):
    other = kit.write_dataset(tmp_path / "other", kit.scenes(), None)
    with pytest.raises(DataError, match="other: expected proposals on the scenes of .*benchmark, got none of them"):
        run(PARAMS, inputs_of(world, proposals=other, metrics=tmp_path / "m.json"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "m.json").exists()


def test_a_missing_adapter_is_named(world, tmp_path):
    inputs = EvaluateInputs(**{**vars(inputs_of(world)), "adapter": tmp_path / "train"})
    with pytest.raises(DataError, match=r"train/adapter: expected adapter_config.json, found none"):
        run(PARAMS, inputs, tmp_path / "out")


def test_a_benchmark_without_classes_ends_before_any_model_is_loaded(world, tmp_path):
    folder = tmp_path / "benchmark"
    shutil.copytree(world / "data" / "benchmark", folder)
    write_manifest(folder, read_manifest(folder).model_copy(update={"classes": None}))
    inputs = EvaluateInputs(**{**vars(inputs_of(world, benchmark=folder)), "base": tmp_path / "none"})
    with pytest.raises(DataError, match=r"manifest.json: classes: expected things and stuff"):
        run(PARAMS, inputs, tmp_path / "out")


def test_padding_and_the_models_own_size(world, done):
    run(EvaluateParams(pictures=1, resize="pad", crop_px=None), inputs_of(world), world / "padded")
    metrics = json.loads((world / "metrics" / "evaluate.json").read_text(encoding="utf-8"))
    assert metrics["protocol"]["settings"]["resize"] == "pad"
    assert (metrics["protocol"]["settings"]["image_px"], metrics["protocol"]["settings"]["crop_px"]) == (96, 96)
    same = ("semantic", "panoptic", "retrieval")  # scenes are squares: nothing is padded
    for name in same:
        assert metrics["tuned"][name] == pytest.approx(done[1]["tuned"][name], abs=1e-4)


@pytest.mark.parametrize("name", ["image_px", "crop_px"])
def test_a_side_of_half_a_patch_is_named(world, name):
    with pytest.raises(InputError, match=rf"evaluate.{name}: expected a multiple of the model's patch .*, got 50"):
        run(EvaluateParams(**{name: 50}), inputs_of(world), world / "wrong")
