"""Two CLIPs on one benchmark by `umgclip compare`, against what the stage `evaluate` measures."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.errors import DataError, InputError
from umgclip.evaluate import stage
from umgclip.evaluate.compare import Contender, compare
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.preprocess import Preprocess
from umgclip.model.clip.usage import Usage
from umgclip.params import EvaluateParams

PARAMS = EvaluateParams(pictures=1, resamples=20, crop_px=None)


@pytest.fixture(scope="module")
def world(write_evaluation, tmp_path_factory):
    """Twenty-one scenes, a base, an adapter that changes it, and the truth as proposals."""
    root = tmp_path_factory.mktemp("compared")
    write_evaluation(root, 21, 2)
    return root


def run(root, *words):
    return CliRunner().invoke(app, ["compare", *words, "--benchmark", str(root / "data" / "benchmark")])


def test_the_numbers_are_those_of_the_stage(world, tmp_path):
    base, adapter = world / "base", world / "train"
    clips = {"base": files.load(base)[0], "tuned": load_tuned(base, adapter / "adapter")}
    models = {name: Contender(clip) for name, clip in clips.items()}
    compared = compare(PARAMS, world / "data" / "benchmark", models)
    annotations = world / "annotations"
    inputs = stage.EvaluateInputs(
        base, adapter, world / "data" / "benchmark", annotations, annotations, tmp_path / "metrics.json"
    )
    stage.run(PARAMS, inputs, tmp_path / "out")
    measured = json.loads((tmp_path / "metrics.json").read_text())
    for model in models:
        for benchmark, metrics in compared.metrics[model].items():
            for metric, value in metrics.items():
                assert measured[model][benchmark][metric] == value, (benchmark, metric)
    assert compared.change["tuned"]["region"]["box_top1"] == measured["intervals"]["change"]["region"]["box_top1"]
    assert compared.protocols["tuned"]["region"]["resolution"] == measured["protocols"]["region"]["resolution"]


def test_the_command_prints_both_models_and_writes_all_numbers(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without params.yaml
    monkeypatch.setenv("COLUMNS", "200")
    done = run(world, str(world / "base"), str(world), "--out", "compared.json")
    assert done.exit_code == 0, done.output
    assert "box_top1" in done.output
    assert "95 % of change" in done.output
    written = json.loads((tmp_path / "compared.json").read_text())
    assert set(written["metrics"]) == {str(world / "base"), str(world)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compared.json"]


def test_a_model_is_read_as_it_is_used(world):
    """An own prompt counts unless the section sets one, for that model alone."""
    clip = files.load(world / "base")[0]
    usage = Usage(Preprocess(fit="shortest"), template="zebra {}", box_share=0.5)
    benchmark = world / "data" / "benchmark"
    short = {"resamples": 20, "crop_px": None, "readouts": ["box"]}
    compared = compare(EvaluateParams(**short), benchmark, {"plain": Contender(clip), "own": Contender(clip, usage)})
    plain, other = (compared.protocols[name]["region"] for name in ("plain", "own"))
    assert (plain["templates"], other["templates"]) == ("{a} {}", "zebra {}")
    assert (plain["resize"], other["resize"]) == ("squash", "squash")  # regions need the whole image
    set_ = EvaluateParams(**short, thing_templates=["{}"], box_share=1.0)
    both = compare(set_, benchmark, {"plain": Contender(clip), "own": Contender(clip, usage)})
    assert both.metrics["plain"] == both.metrics["own"]
    assert set(both.change["own"]["region"]["box_top1"].values()) == {0}


def coco(folder):
    """Write three photographs with two boxes each, and their COCO file."""
    (folder / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (80, 60), (80 * number, 10, 20)).save(folder / "photos" / f"{number}.jpg")
    boxes = [
        {"id": n, "image_id": n % 3, "category_id": n % 2, "bbox": [5 + n, 5, 30, 40], "area": 1200, "iscrowd": 0}
        for n in range(6)
    ]
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 80, "height": 60} for n in range(3)],
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "key"}],
        "annotations": boxes,
    }
    (folder / "boxes.json").write_text(json.dumps(content))


def test_photographs_with_boxes_need_no_dataset(world, tmp_path, monkeypatch):
    coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    models = [f"a={world / 'base'}", f"b={world}", f"c={world / 'base'}"]
    words = ["compare", *models, "--images", "photos", "--instances", "boxes.json", "--out", "compared.json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("95 % of change") == 2
    written = json.loads((tmp_path / "compared.json").read_text())
    assert written["metrics"]["a"] == written["metrics"]["c"]
    names = written["per_class"]["a"]["box"]
    assert {name: row["regions"] for name, row in names.items()} == {"dog": 3, "key": 3}
    right = sum(row["regions"] * row["top1"] for row in names.values()) / 6
    assert right == pytest.approx(written["metrics"]["a"]["region"]["box_top1"], abs=1e-5)
    alone = CliRunner().invoke(app, ["compare", *models, "--images", "photos"])
    assert "--images FOLDER and --instances FILE together" in str(alone.exception)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (["one"], "expected two models or more"),
        (["a", "a"], "expected different models, got a twice"),
        (["a=x", "a=y"], "got a twice; NAME=MODEL names them"),
        (["a=", "b"], "expected MODEL or NAME=MODEL, got 'a='"),
        (["nowhere", "nowhere-else"], "expected models:/NAME@ALIAS, a folder, or NAME:TAG"),
        (["ViT-B-3:openai", "x"], "ViT-B-3:openai: open_clip has no model 'ViT-B-3'; did you mean 'ViT-B-32'?"),
        (["ViT-B-32:opnai", "x"], "ViT-B-32:opnai: ViT-B-32 has no weights 'opnai'; did you mean 'openai'? (expected"),
        (["b=ViT-B-32:scratch", "x"], "ViT-B-32:scratch: ViT-B-32 has no weights 'scratch'"),
    ],
)
def test_a_wrong_model_is_named(world, models, expected):
    done = run(world, *models)
    assert isinstance(done.exception, InputError)
    assert expected in str(done.exception)


def test_a_missing_benchmark_is_named(tmp_path):
    models = [str(tmp_path), f"again={tmp_path}"]
    done = CliRunner().invoke(app, ["compare", *models, "--benchmark", str(tmp_path / "none")])
    assert isinstance(done.exception, DataError)


def test_models_are_looked_at_before_photographs_are_imported(world, tmp_path, monkeypatch):
    """The second model is no model, and neither are there photographs: the model is named, and nothing was read."""
    monkeypatch.chdir(tmp_path)
    words = ["--images", "none", "--instances", "none.json"]
    done = CliRunner().invoke(app, ["compare", str(world / "base"), "nosuch", *words])
    assert isinstance(done.exception, InputError)
    assert "got 'nosuch'" in str(done.exception)
