"""The whole stage on a tiny demo with tiny random weights."""

import csv
import dataclasses
import hashlib
import itertools
import json
import shutil
from typing import get_args

import pytest
import torch
from PIL import Image

from umgclip.errors import DataError, InputError
from umgclip.evaluate.stage import EvaluateInputs, _summary, run
from umgclip.evaluate.suite import PROTOCOLS
from umgclip.io.atomic import atomic_file
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import ShardWriter, read_shard
from umgclip.model.clip import files
from umgclip.params import EvaluateParams, ReadoutName
from umgclip.records import PairSide, Source, Text, parse_record, shows_one_object

PARAMS = EvaluateParams(pictures=2, resamples=50)
SCENE = Source(dataset="mine")
BARE = {"tags": None, "regions": None, "captions": None, "pairs": None, "source": SCENE}
REGION = {
    f"{readout}_{metric}"
    for readout in ("box", "mask", "crop", "maskout")
    for metric in ("top1", "top1_seen", "top1_heldout", "top1_small", "top1_medium", "top5", "per_class")
} | {"mask_stuff_top1"}


@pytest.fixture(scope="module")
def world(write_evaluation, tmp_path_factory):
    """A demo of six scenes and three singles, a base, an adapter that changes it, and the truth as proposals."""
    root = tmp_path_factory.mktemp("world")
    write_evaluation(root, 6, 3)
    numbers = itertools.count()

    def paired(record):
        """Scenes that follow each other are a visual-pattern pair, with their captions as texts.

        Their regions have a wrong text each.
        """
        if shows_one_object(record):
            return record
        wrong = [Text(text="a purple unicorn", source="human")]
        regions = [region.model_copy(update={"negatives": wrong}) for region in record.regions]
        record = record.model_copy(update={"regions": regions})
        side = PairSide(id=f"{next(numbers) // 2}", pattern="Order", text=record.captions[0].text)
        return record.model_copy(update={"pairs": [side]})

    write_manifest(root / "paired", part_of(root, root / "paired", paired))
    shutil.rmtree(root / "data" / "benchmark")
    (root / "paired").rename(root / "data" / "benchmark")
    return root


def inputs_of(root, benchmark=None, proposals=None, metrics=None):
    return EvaluateInputs(
        base=root / "base",
        adapter=root / "train",
        benchmark=benchmark or root / "data" / "benchmark",
        annotations=root / "annotations",
        proposals=proposals or root / "proposals",
        metrics=metrics or root / "metrics" / "evaluate.json",
        headlines=None if metrics else root / "metrics" / "headlines.json",
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
    assert set(metrics) == {"base", "tuned", "annotator", "protocol", "protocols"}
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
    assert set(metrics["protocols"]) == set(PROTOCOLS)
    for block in metrics["protocols"].values():
        assert block["split_sha256"] == protocol["benchmark"]["sha256"]
        assert block["weights"]["base"] == protocol["inputs"]["base_sha256"]
        assert {"resolution", "resize", "normalisation"} <= set(block)
    assert set(metrics["protocols"]["region"]["readouts"]) == {"box", "mask", "crop", "maskout"}


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
    assert {path.stem for path in (out / "pictures").glob("*.png")} == {
        *PROTOCOLS, "overview"
    } - {"detection", "fine_grained"}, "these two have tables only"  # fmt: skip
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
    # six scenes and three singles are no ground for an interval
    assert "classification (3 images), retrieval (6 images)" in dict(summary.rows)["no intervals"]


def test_summary_tells_which_texts_were_cut(done):
    _, metrics, summary, _ = done
    assert "captions and prompts" not in dict(summary.rows)
    assert dict(_summary(metrics, "3 of 5 are longer").rows)["captions and prompts"] == "3 of 5 are longer"


def test_the_headlines_are_few_and_the_same_numbers(done, world):
    _, metrics, _, _ = done
    headlines = json.loads((world / "metrics" / "headlines.json").read_text(encoding="utf-8"))
    listed = [(m, b, n, v) for m, each in headlines.items() for b, found in each.items() for n, v in found.items()]
    assert {"classification", "retrieval", "region", "panoptic"} <= set(headlines["tuned"])
    assert 20 <= len(listed) <= 32
    assert all(metrics[model][benchmark][name] == value for model, benchmark, name, value in listed)


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


def test_padding_and_the_models_own_size(world, done):
    run(
        EvaluateParams(pictures=1, resize="pad", crop_px=None),
        inputs_of(world, metrics=world / "padded.json"),
        world / "padded",
    )
    metrics = json.loads((world / "padded.json").read_text(encoding="utf-8"))
    assert metrics["protocol"]["settings"]["resize"] == "pad"
    assert (metrics["protocol"]["settings"]["image_px"], metrics["protocol"]["settings"]["crop_px"]) == (96, 96)
    same = ("semantic", "panoptic", "retrieval")  # scenes are squares: nothing is padded
    for name in same:
        assert metrics["tuned"][name] == pytest.approx(done[1]["tuned"][name], abs=1e-4)


@pytest.mark.parametrize("name", ["image_px", "crop_px"])
def test_a_side_of_half_a_patch_is_named(world, name):
    with pytest.raises(InputError, match=rf"evaluate.{name}: expected a multiple of the model's patch .*, got 50"):
        run(EvaluateParams(**{name: 50}), inputs_of(world), world / "wrong")


def part_of(world, folder, change):
    """The benchmark with its records changed and its manifest's classes left as `change` says."""
    source = world / "data" / "benchmark"
    folder.mkdir()
    manifest = read_manifest(source)
    shards = []
    for info in manifest.shards:
        with atomic_file(folder / info.path) as temporary:
            writer = ShardWriter(temporary)
            for raw in read_shard(source / info.path):
                record = parse_record(raw.json, where=raw.key)
                writer.write(dataclasses.replace(raw, json=change(record).to_json()))
            writer.close()
        shards.append(describe_shard(folder / info.path, info.samples))
    return manifest.model_copy(update={"shards": shards})


def test_a_benchmark_of_captions_alone_measures_retrieval_alone(world, tmp_path):
    folder = tmp_path / "captions"
    manifest = part_of(world, folder, lambda r: r.model_copy(update={**BARE, "captions": r.captions}))
    write_manifest(folder, manifest.model_copy(update={"classes": None}))
    run(PARAMS, inputs_of(world, folder, metrics=tmp_path / "m.json"), tmp_path / "out")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert set(metrics["tuned"]) == {"retrieval"}
    assert metrics["annotator"] == {}
    pictures = {path.name for path in (tmp_path / "out" / "pictures").iterdir()}
    assert pictures == {"retrieval.png", "overview.png"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 'id="retrieval"' in page
    assert 'id="region"' not in page


def test_single_objects_may_have_a_tag_and_no_region(world, done, tmp_path):
    folder = tmp_path / "tags"
    manifest = part_of(world, folder, lambda r: r.model_copy(update={"regions": None, "captions": None, "pairs": None}))
    write_manifest(folder, manifest)
    run(PARAMS, inputs_of(world, folder, metrics=tmp_path / "m.json"), tmp_path / "out")
    metrics = json.loads((tmp_path / "m.json").read_text())
    whole = done[1]
    assert set(metrics["tuned"]) == {"classification", "tagging"}
    assert metrics["tuned"]["classification"] == whole["tuned"]["classification"]


def test_a_benchmark_with_nothing_to_measure_is_refused(world, tmp_path):
    folder = tmp_path / "bare"
    write_manifest(folder, part_of(world, folder, lambda r: r.model_copy(update=BARE)))
    with pytest.raises(
        DataError, match="expected captions, tags, regions, pairs or single objects to measure, got none"
    ):
        run(PARAMS, inputs_of(world, folder, metrics=tmp_path / "m.json"), tmp_path / "out")


def test_regions_may_be_boxes_alone(world, done, tmp_path):
    def boxes_only(record):
        regions = [region.model_copy(update={"mask": None}) for region in record.regions]
        return record.model_copy(update={"regions": regions})

    folder = tmp_path / "boxes"
    write_manifest(folder, part_of(world, folder, boxes_only))
    run(PARAMS, inputs_of(world, folder, metrics=tmp_path / "m.json"), tmp_path / "out")
    metrics = json.loads((tmp_path / "m.json").read_text())
    whole = done[1]
    assert set(metrics["tuned"]) == set(PROTOCOLS) - {"semantic", "panoptic"}
    sizes = ("small", "medium")  # by the box then, not by the mask
    by_box = {
        name: value
        for name, value in whole["tuned"]["region"].items()
        if name.startswith(("box", "crop")) and not name.endswith(sizes)
    }
    assert {k: v for k, v in metrics["tuned"]["region"].items() if not k.endswith(sizes)} == by_box
    assert "mask_iou" not in metrics["annotator"]
    assert metrics["annotator"]["recall"] == whole["annotator"]["recall"]


def test_every_readout_side_by_side_with_its_cost(world, done, tmp_path):
    names = list(set(get_args(ReadoutName)) - {"crop", "maskout"})
    params = EvaluateParams(pictures=1, resamples=0, readouts=names, measure_cost=True)
    run(params, inputs_of(world, metrics=tmp_path / "m.json"), tmp_path / "out")
    metrics = json.loads((tmp_path / "m.json").read_text())
    found = metrics["tuned"]["region"]
    assert {f"{name}_top1" for name in names} <= set(found)
    assert "crop_top1" not in found
    assert {n: v for n, v in found.items() if n.startswith(("box", "mask_"))} == {
        n: v for n, v in done[1]["tuned"]["region"].items() if n.startswith(("box", "mask_"))
    }
    cost = json.loads((tmp_path / "out" / "cost.json").read_text())
    assert all(set(cost[model]) == set(names) for model in ("base", "tuned"))
    assert all(value > 0 for model in cost.values() for value in model.values())
    assert "intervals" not in metrics
    said = metrics["protocols"]["region"]["readouts"]
    assert said["context"]["frame"] == "0.8 or 0.666667 or 0.5 or 0.4"
    shares = {name: said[name].get("box_share") for name in ("box", "whole_box", "last_box", "surgery_box", "mask")}
    assert shares == {"box": 0.7, "whole_box": 1.0, "last_box": 0.7, "surgery_box": 0.7, "mask": None}


def test_masks_of_another_model_make_segments_of_their_own(world, done, tmp_path):
    inputs = dataclasses.replace(inputs_of(world, metrics=tmp_path / "m.json"), masks=world / "annotations")
    run(PARAMS, inputs, tmp_path / "out")
    metrics = json.loads((tmp_path / "m.json").read_text())
    panoptic = metrics["tuned"]["panoptic"]
    # the truth served as proposals, and serves again
    assert panoptic["pq_masker"] == panoptic["pq_proposals"] == done[1]["tuned"]["panoptic"]["pq_proposals"]
    masks = metrics["protocols"]["panoptic"]["masks"]
    assert masks["masker"]["sha256"] == read_manifest(world / "annotations").digest()


def test_kept_features_change_no_number(world, done, tmp_path):
    params = PARAMS.model_copy(update={"cache": str(tmp_path / "features")})
    for metrics in ("first.json", "second.json"):
        run(params, inputs_of(world, metrics=tmp_path / metrics), tmp_path / "out")
        assert json.loads((tmp_path / metrics).read_text()) == done[1]
    assert len(list((tmp_path / "features").iterdir())) == 2  # models


def test_another_precision_is_named_and_moves_the_numbers_little(world, done, tmp_path):
    params = PARAMS.model_copy(update={"dtype": "bf16", "device": "cpu", "resamples": 0})
    run(params, inputs_of(world, metrics=tmp_path / "m.json"), tmp_path / "out")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["protocol"]["settings"]["dtype"] == "bf16"
    assert {block["precision"] for block in metrics["protocols"].values()} == {"bfloat16"}
    assert {block["precision"] for block in done[1]["protocols"].values()} == {"float32"}
    assert "dtype" not in done[1]["protocol"]["settings"]  # as before there was a choice
    for name, value in done[1]["tuned"]["semantic"].items():
        assert metrics["tuned"]["semantic"][name] == pytest.approx(value, abs=0.05)


def test_a_device_that_is_not_there_is_named(world, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    params = PARAMS.model_copy(update={"device": "cuda"})
    with pytest.raises(InputError, match="evaluate.device: expected cpu, since this machine has no GPU"):
        run(params, inputs_of(world, metrics=tmp_path / "m.json"), tmp_path / "out")
