"""Exports for Hugging Face's `datasets`: read by the real package, and read back without loss."""

import json

import datasets
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco_mask
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.data.stream import read_raw
from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.places import Folder
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.params import DataParams
from umgclip.records import ImageRecord, Region, Source, Text, parse_record
from umgclip.sources.demo.scenes import write_demo
from umgclip.sources.exporting import huggingface
from umgclip.sources.exporting.catalog import EXPORTS

datasets.disable_progress_bars()
MODEL = "teacher/tiny@1"


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "data"
    write_demo(DataParams(train_scenes=3, benchmark_scenes=6, benchmark_singles=3, shard_samples=4), folder)
    return folder / "benchmark"


def records(folder):
    return [parse_record(raw.json, where=raw.key) for _, raw in read_raw(folder)]


def export(dataset, out, to="huggingface"):
    EXPORTS[to](Folder(dataset), read_manifest(dataset), out, lambda _: None)
    return out


@pytest.fixture
def annotated(kit, tmp_path):
    """A dataset as models write it: sources, scores, negatives, regions without a label, and nothing asked for."""
    writer = ShardWriter((tmp_path / "set").mkdir() or tmp_path / "set" / "a.tar")
    mask = mask_ops.encode(kit.pixels(3)[..., 0] > 99)
    region = Region(
        id="r_0", box_xyxy=(0.123, 1.456, 20.789, 29.0), mask=mask, score=0.75, source="boxes/1", mask_source="sam/2",
        tags=[Text(text="red_fox", score=0.5, source=MODEL, agreed_by=["b"]), Text(text="fox", source=MODEL)],
        captions=[Text(text="a fox; asleep", score=0.25, source=MODEL, filter_score=0.5)],
        negatives=[Text(text="a red dog", source=MODEL)],
    )  # fmt: skip
    stuff = Region(id="s", box_xyxy=(0, 0, 40, 30), mask=mask, is_stuff=True, tags=[Text(text="grass", source=MODEL)])
    crowd = Region(id="given-7", box_xyxy=(1, 1, 9, 9), is_crowd=True, tags=[Text(text="red_fox", source=MODEL)])
    lists = [
        {"captions": [Text(text="alt", source="alt"), Text(text="café ✓", score=0.5, source=MODEL)],
         "tags": [Text(text="red_fox", score=0.5, source=MODEL), Text(text="not a region's", source="alt")],
         "regions": [region, stuff, crowd, Region(id="p", box_xyxy=(2, 2, 4, 4), source="boxes/1")]},
        {"captions": [], "tags": [], "regions": []},
        {},
        {"negative_tags": [Text(text="dog", source="human")], "not_exhaustive": ["fox"]},
    ]  # fmt: skip
    for number, more in enumerate(lists):
        data = kit.encoded(kit.pixels(number), "PNG")
        digest = __import__("hashlib").sha256(data).hexdigest()
        source = Source(dataset="mine/train", url=f"https://example.com/{number}", license="CC0-1.0")
        about = {"key": digest[:16], "width": 40, "height": 30, "sha256": digest, "source": source}
        record = ImageRecord(**about, **more)
        writer.write(RawSample(record.key, data, "png", record.to_json()))
    writer.close()
    made_by = MadeBy(stage="annotate", params_sha256="0", code_version="0")
    write_manifest(tmp_path / "set", Manifest(made_by=made_by, shards=[describe_shard(tmp_path / "set" / "a.tar", 4)]))
    return tmp_path / "set"


def loaded(folder, tmp_path, **options):
    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), **options)


def test_datasets_reads_typed_columns(benchmark, tmp_path):
    out = export(benchmark, tmp_path / "out")
    read = loaded(out, tmp_path)["test"]
    classes = read_manifest(benchmark).classes
    objects = read.features["objects"]
    assert isinstance(read.features["image"], datasets.Image)
    assert objects["category"].feature.names == read.features["label"].names == [*classes.things, *classes.stuff]
    for row, record in zip(read, records(benchmark), strict=True):
        assert row["image"].size == (record.width, record.height) == (row["width"], row["height"])
        assert row["captions"] == [text.text for text in record.captions]
        for number, region in enumerate(record.regions or []):
            x, y, width, height = row["objects"]["bbox"][number]
            assert (x, y, x + width, y + height) == pytest.approx(region.box_xyxy)
            assert objects["category"].feature.int2str(row["objects"]["category"][number]) == region.tags[0].text
            assert row["objects"]["is_stuff"][number] == region.is_stuff
            pixels = coco_mask.decode(row["objects"]["segmentation"][number])
            assert (pixels.astype(bool) == mask_ops.decode(region.mask)).all()
    assert [row["label"] >= 0 for row in read] == [r.source.dataset.endswith("/singles") for r in records(benchmark)]


def test_the_card_and_the_files_agree(benchmark, tmp_path):
    out = export(benchmark, tmp_path / "out")
    by_card = loaded(out, tmp_path, split="test")
    by_file = datasets.load_dataset(
        "parquet", data_files=str(out / "data" / "*.parquet"), cache_dir=str(tmp_path / "c2"), split="train"
    )
    assert by_card.features == by_file.features
    assert sorted(path.name for path in out.iterdir()) == [
        ".made-by-umgclip", "README.md", "data", "umgclip.json"
    ]  # fmt: skip
    assert "license: other" in (out / "README.md").read_text()


@pytest.mark.parametrize("dataset", ["benchmark", "annotated"])
def test_an_export_is_read_back_without_loss(kit, request, tmp_path, dataset):
    folder = request.getfixturevalue(dataset)
    out = export(folder, tmp_path / "out")
    split = "benchmark" if dataset == "benchmark" else "train"
    done = kit.bring("huggingface", out, tmp_path / "back", split)
    assert [record.key for record in done.records.values()] == [record.key for record in records(folder)]
    assert list(done.records.values()) == records(folder)
    assert done.manifest.classes == read_manifest(folder).classes
    assert done.quarantine == []


def test_what_datasets_writes_again_is_read_back_without_loss(kit, annotated, tmp_path):
    loaded(export(annotated, tmp_path / "out"), tmp_path).save_to_disk(tmp_path / "saved")
    done = kit.bring("huggingface", tmp_path / "saved", tmp_path / "back")
    assert list(done.records.values()) == records(annotated)


def test_changed_columns_count_and_the_rest_stays(kit, annotated, tmp_path):
    def change(row):
        if row["objects"]["id"]:
            row["objects"]["bbox"][0] = [1.0, 2.0, 3.0, 4.0]
            row["objects"]["category"][2] = 1
            row["objects"]["captions"][0] = ["another"]
            row["captions"][1] = "written by hand"
            row["tags"] = ["red_fox", "new"]
        return row

    read = loaded(export(annotated, tmp_path / "out"), tmp_path)["train"]
    assert read.features["objects"]["category"].feature.names == ["grass", "red_fox"]
    read.map(change, features=read.features).to_parquet(tmp_path / "changed.parquet")
    read.map(change, features=read.features).remove_columns("umgclip").to_parquet(
        (tmp_path / "b").mkdir() or tmp_path / "b" / "a.parquet"
    )
    done = kit.bring("huggingface", tmp_path, tmp_path / "back", files=("changed.parquet",))
    before, after = records(annotated)[0], next(iter(done.records.values()))
    first, stuff, crowd, last = after.regions
    assert (first.box_xyxy, first.score, first.mask) == ((1, 2, 4, 6), 0.75, before.regions[0].mask)
    assert (first.captions[0].text, first.negatives) == ("another", before.regions[0].negatives)
    assert (stuff, last) == (before.regions[1], before.regions[3])
    assert [tag.text for tag in crowd.tags] == ["red_fox"]
    assert [(text.text, text.source) for text in after.captions] == [("alt", "alt"), ("written by hand", "human")]
    assert [(tag.text, tag.source) for tag in after.tags] == [("red_fox", MODEL), ("new", "human")]
    bare = kit.bring("huggingface", tmp_path / "b", tmp_path / "bare")
    assert [(one.id, one.tags[0].text if one.tags else None) for one in next(iter(bare.records.values())).regions] == [
        ("r_0", "red_fox"), ("s", "grass"), ("given-7", "red_fox"), ("p", None),
    ]  # fmt: skip


def test_files_have_a_bounded_size_and_the_same_bytes(kit, annotated, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface, "_GROUP_ROWS", 1)
    monkeypatch.setattr(huggingface, "FILE_BYTES", 100)
    out = export(annotated, tmp_path / "out")
    names = sorted(path.name for path in (out / "data").iterdir())
    assert names == [f"train-{number:05d}-of-00004.parquet" for number in range(4)]
    assert kit.tree(export(annotated, tmp_path / "out2") / "data") == kit.tree(out / "data")
    assert len(loaded(out, tmp_path)["train"]) == 4
    assert list(kit.bring("huggingface", out, tmp_path / "back").records.values()) == records(annotated)


def test_many_labels_are_texts(kit, annotated, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface, "MOST_NAMES", 1)
    out = export(annotated, tmp_path / "out")
    schema = json.loads(pq.read_schema(next((out / "data").iterdir())).metadata[b"huggingface"])
    assert schema["info"]["features"]["objects"]["category"]["feature"] == {"_type": "Value", "dtype": "string"}
    assert loaded(out, tmp_path)["train"][0]["objects"]["category"] == ["red_fox", "grass", "red_fox", None]
    assert list(kit.bring("huggingface", out, tmp_path / "back").records.values()) == records(annotated)


def test_the_command_writes_what_the_other_command_reads(kit, benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kit.write_text(tmp_path / "params.yaml", "data: {imports: {workers: 1}}")
    for words in (
        ["export", str(benchmark), "--to", "huggingface", "--out", "out"],
        ["import", "huggingface", "out", "--split", "benchmark"],
    ):
        done = CliRunner().invoke(app, ["data", *words])
        assert done.exit_code == 0, done.output
    assert len(records(tmp_path / "data" / "benchmark")) == 9
