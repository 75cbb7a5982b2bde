"""FiftyOne's own format: what an export writes, and what an import reads of it and of other data sets."""

import copy
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.cli.data import classifying
from umgclip.data.stream import read_raw
from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import read_manifest
from umgclip.io.places import Folder
from umgclip.params import DataParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo
from umgclip.sources.exporting.fiftyone import to_fiftyone
from umgclip.sources.formats.fiftyone import masks as fo_masks


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "data"
    write_demo(DataParams(train_scenes=3, benchmark_scenes=6, benchmark_singles=3, shard_samples=4), folder)
    return folder / "benchmark"


def records(folder):
    return [parse_record(raw.json, where=raw.key) for _, raw in read_raw(folder)]


def export(dataset, out, models=None):
    to_fiftyone(Folder(dataset), read_manifest(dataset), out, lambda _: None, models)
    return out


def samples(folder):
    return json.loads((folder / "samples.json").read_text())["samples"]


def rewrite(folder, change):
    """Change the samples of an export."""
    listed = samples(folder)
    for sample in listed:
        change(sample)
    (folder / "samples.json").write_text(json.dumps({"samples": listed}))


def test_an_export_is_read_back_without_loss(kit, benchmark, tmp_path):
    out = export(benchmark, tmp_path / "out")
    done = kit.bring("fiftyone", out, tmp_path / "back", "benchmark")
    assert list(done.records.values()) == records(benchmark)
    assert done.manifest.classes == read_manifest(benchmark).classes
    assert done.quarantine == []
    assert kit.tree(export(benchmark, tmp_path / "b" / "out")) == kit.tree(out)


def test_progress_counts_each_image(benchmark, tmp_path):
    steps = []
    to_fiftyone(Folder(benchmark), read_manifest(benchmark), tmp_path / "out", steps.append)
    assert steps == [1] * 9


def test_the_documents_are_those_of_fiftyone(benchmark, tmp_path):
    out = export(benchmark, tmp_path / "out")
    sample, record = samples(out)[0], records(benchmark)[0]
    assert sample["filepath"].startswith(f"data/{record.key}.")
    assert (out / sample["filepath"]).is_file()
    things = [region for region in record.regions if not region.is_stuff]
    for one, region in zip(sample["regions"]["detections"], things, strict=True):
        x0, y0, x1, y1 = region.box_xyxy
        assert one["bounding_box"] == pytest.approx([x0 / 96, y0 / 96, (x1 - x0) / 96, (y1 - y0) / 96])
        assert (one["_cls"], one["label"], one["confidence"]) == ("Detection", region.tags[0].text, None)
        mask = fo_masks.placed(fo_masks.unpacked(one["mask"]), region.box_xyxy, (96, 96))
        assert mask_ops.encode(mask) == region.mask
    about = json.loads((out / "metadata.json").read_text())
    names = about["mask_targets"]["segmentation"]
    numbers = np.asarray(Image.open(out / sample["segmentation"]["mask_path"]))
    labels = {region.tags[0].text for region in record.regions}
    assert {names[str(n)] for n in np.unique(numbers) if n} <= labels
    stuff = next(region for region in record.regions if region.is_stuff)
    number = next(int(n) for n, name in names.items() if name == stuff.tags[0].text)
    assert (numbers[mask_ops.decode(stuff.mask)] == number).any()
    assert {field["name"] for field in about["sample_fields"]} >= {*sample} - {"_id"}


def test_models_add_a_field_each(benchmark, tmp_path):
    asked = []

    def second(image, labels, boxes):
        asked.append((len(labels), None if boxes is None else len(boxes)))
        return np.tile(np.eye(len(labels))[1] * 0.5, (1 if boxes is None else len(boxes), 1))

    out = export(benchmark, tmp_path / "out", {"tuned": second})
    classes = read_manifest(benchmark).classes
    for sample, record in zip(samples(out), records(benchmark), strict=True):
        if "label" in sample:
            assert sample["tuned_label"]["label"] == classes.things[1]
        else:
            things = sample["regions"]["detections"]
            found = sample["tuned"]["detections"]
            assert [one["region_id"] for one in found] == [one["region_id"] for one in things]
            assert {(one["label"], one["confidence"]) for one in found} == {(classes.things[1], 0.5)}
        assert record.key == sample["key"]
    assert len(asked) == 9
    with pytest.raises(InputError, match="--model: expected a new name of small letters, digits and _, got 'regions'"):
        export(benchmark, tmp_path / "b", {"regions": second})


def test_changes_in_fiftyone_count(kit, benchmark, tmp_path):
    out = export(benchmark, tmp_path / "out")

    def change(sample):
        if "regions" in sample and len(sample["regions"]["detections"]) > 1:
            first, second, *rest = sample["regions"]["detections"]
            first["label"] = "fox"
            second["bounding_box"] = [0.25, 0.25, 0.5, 0.5]
            second["mask"] = None
            sample["regions"]["detections"] = [first, second, *rest]
        sample["captions"] = ["by hand"]

    rewrite(out, change)
    done = kit.bring("fiftyone", out, tmp_path / "back")
    before = {record.key: record for record in records(benchmark)}
    for record in done.records.values():
        assert [(text.text, text.source) for text in record.captions] == [("by hand", "human")]
        things = [region for region in record.regions or [] if not region.is_stuff]
        if len(things) > 1:
            assert things[0].tags[0].text == "fox"
            assert (things[1].box_xyxy, things[1].mask) == ((24, 24, 72, 72), None)
        assert [r for r in record.regions or [] if r.is_stuff] == [
            r for r in before[record.key].regions or [] if r.is_stuff
        ]


def foreign(kit, folder, **more):
    """A data set as FiftyOne writes one of its own."""
    kit.photo(folder / "data" / "a.jpg", 1)
    mask = np.zeros((5, 10), bool)
    mask[:, :5] = True
    detection = {
        "_id": {"$oid": "0" * 24}, "_cls": "Detection", "attributes": {}, "tags": [], "label": "traffic light",
        "bounding_box": [0.25, 0.5, 0.25, 0.25], "mask": fo_masks.packed(mask), "confidence": 0.5, "index": 3,
    }  # fmt: skip
    polyline = {"_cls": "Polyline", "label": "road", "points": [[[0.0, 0.0], [0.5, 0.0], [0.5, 0.5]]], "closed": True}
    sample = {
        "_id": {"$oid": "1" * 24}, "filepath": "data/a.jpg", "tags": ["validation"], "metadata": None,
        "ground_truth": {"_cls": "Detections", "detections": [detection]},
        "lines": {"_cls": "Polylines", "polylines": [polyline]},
        "weather": {"_cls": "Classification", "label": "rain", "confidence": None}, "caption": "a street", **more,
    }  # fmt: skip
    about = {"name": "x", "media_type": "image", "version": "1.0.0", "sample_fields": []}
    kit.write_text(folder / "metadata.json", json.dumps(about))
    kit.write_text(folder / "samples.json", json.dumps({"samples": [sample]}))
    return folder


def test_a_data_set_of_others(kit, tmp_path):
    done = kit.bring("fiftyone", foreign(kit, tmp_path / "in"), tmp_path / "out")
    (record,) = done.records.values()
    (region,) = record.regions
    assert (region.tags[0].text, region.score, region.box_xyxy) == ("traffic light", 0.5, (10, 15, 20, 22.5))
    assert mask_ops.tight_box(region.mask)[:3] == (10, 15, 15)
    assert [tag.text for tag in record.tags] == ["traffic light", "rain"]
    assert [text.text for text in record.captions] == ["a street"]
    assert done.statistics["told"]["fields that are not read (lines)"] == 1
    lines = kit.bring("fiftyone", tmp_path / "in", tmp_path / "b", objects_column="lines", label_column="none")
    (record,) = lines.records.values()
    assert (record.regions[0].tags[0].text, record.regions[0].box_xyxy) == ("road", (1, 0, 20, 15))
    with pytest.raises(InputError, match="--objects-field: expected one of ground_truth, lines, got 'boxes'"):
        kit.bring("fiftyone", tmp_path / "in", tmp_path / "c", objects_column="boxes")
    with pytest.raises(InputError, match="--subset: expected a tag of samples, none of 1 has 'train'"):
        kit.bring("fiftyone", tmp_path / "in", tmp_path / "c", subset="train")
    assert len(kit.bring("fiftyone", tmp_path / "in", tmp_path / "d", subset="validation").records) == 1


def test_masks_in_files_and_images_elsewhere(kit, tmp_path):
    folder = foreign(kit, tmp_path / "in", filepath="/home/somebody/data/a.jpg")
    kit.write_map(folder / "fields" / "ground_truth.detections" / "m.png", np.full((4, 4), 255))

    def change(sample):
        one = sample["ground_truth"]["detections"][0]
        one["mask"], one["mask_path"] = None, "fields/ground_truth.detections/m.png"
        broken = {**one, "mask_path": "fields/none.png", "label": None}
        sample["ground_truth"]["detections"].append(broken)

    rewrite(folder, change)
    done = kit.bring("fiftyone", folder, tmp_path / "out")
    (record,) = done.records.values()
    first, second = record.regions
    assert mask_ops.area(first.mask) == 10 * 8
    assert (second.mask, second.tags) == (None, [])
    assert [reason for reason, _ in done.reasons] == ["bad_mask"]


def test_other_folders_are_refused(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg")
    with pytest.raises(DataError, match=r"expected metadata\.json and samples\.json of a FiftyOneDataset, found none"):
        kit.bring("fiftyone", tmp_path / "in", tmp_path / "out")
    kit.write_text(tmp_path / "in" / "metadata.json", json.dumps({"media_type": "video"}))
    with pytest.raises(InputError, match="media_type: expected image, got 'video'"):
        kit.bring("fiftyone", tmp_path / "in", tmp_path / "out")


JUNK = (None, True, -1, 0, 1e308, 10**30, float("inf"), "", "x", "\ud800", [], {}, [[]], {"$oid": 1}, ["a", 1], 3.5)


def places(value, path=()):
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("whose", ["ours", "others"])
def test_anything_in_a_sample_is_read_or_refused(kit, benchmark, tmp_path, whose):
    folder = export(benchmark, tmp_path / "in") if whose == "ours" else foreign(kit, tmp_path / "in")
    draw, base = np.random.default_rng(0), samples(folder)[:1]
    every = list(places(base))
    for number in range(25):
        changed = copy.deepcopy(base)
        for _ in range(2):
            *above, last = every[draw.integers(len(every))]
            holder = changed
            try:
                for key in above:
                    holder = holder[key]
                holder[last] = copy.deepcopy(JUNK[draw.integers(len(JUNK))])
            except (KeyError, IndexError, TypeError):
                continue
        (folder / "samples.json").write_text(json.dumps({"samples": changed}))
        try:
            done = kit.bring("fiftyone", folder, tmp_path / f"out{number}")
        except (InputError, DataError):
            continue
        assert "import_error" not in dict(done.reasons), done.quarantine
        assert len(done.records) + len(done.quarantine) >= 1


def test_the_command_exports_with_models(kit, benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kit.write_text(tmp_path / "params.yaml", "data: {imports: {workers: 1}}")

    class Stand:
        def classify(self, _image, labels, boxes_xyxy=None):
            return np.ones((1 if boxes_xyxy is None else len(boxes_xyxy), len(labels))) / len(labels)

    monkeypatch.setattr("umgclip.load", lambda _where: Stand())
    words = [
        "data",
        "export",
        str(benchmark),
        "--to",
        "fiftyone",
        "--out",
        "out",
        "--model",
        "base=x",
        "--model",
        "tuned=y",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert {"base", "tuned"} <= set(samples(tmp_path / "out")[0])
    done = CliRunner().invoke(app, ["data", "import", "fiftyone", "out", "--split", "benchmark"])
    assert done.exit_code == 0, done.output
    assert len(records(tmp_path / "data" / "benchmark")) == 9
    for given, to, said in (
        (["tuned"], "fiftyone", "expected NAME=FOLDER"),
        (["a=b"], "coco", "only with --to fiftyone"),
    ):
        with pytest.raises(InputError, match=said):
            classifying.classifiers(given, to)
