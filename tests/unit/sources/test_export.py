"""Datasets handed on: read back by this package, and by pycocotools and webdataset."""

import io
import json
import re
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.places import Folder
from umgclip.io.shards import ShardWriter, read_shard
from umgclip.io.storage import Storage
from umgclip.params import DataParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo
from umgclip.sources.exporting.catalog import EXPORTS


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "data"
    write_demo(DataParams(train_scenes=3, benchmark_scenes=6, benchmark_singles=3, shard_samples=4), folder)
    return folder / "benchmark"


def records(folder):
    return [parse_record(raw.json, where=raw.key) for _, raw in read_raw(folder)]


def export(benchmark, to, out):
    counted = []
    EXPORTS[to](Folder(benchmark), read_manifest(benchmark), out, counted.append)
    assert sum(counted) == 9
    return out


def test_webdataset_reads_the_tars_and_nothing_is_lost(kit, benchmark, tmp_path):
    import webdataset

    out = export(benchmark, "webdataset", tmp_path / "out")
    samples = list(webdataset.WebDataset([str(path) for path in sorted(out.glob("*.tar"))], shardshuffle=False))
    assert [sample["txt"].decode() for sample in samples] == [r.captions[0].text for r in records(benchmark)]
    done = kit.bring("webdataset", out, tmp_path / "data", "benchmark")
    assert list(done.records.values()) == records(benchmark)
    assert done.manifest.classes == read_manifest(benchmark).classes


def test_pycocotools_reads_the_files(benchmark, tmp_path, capsys):
    out = export(benchmark, "coco", tmp_path / "out")
    coco = COCO(str(out / "annotations" / "instances.json"))
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    classes = read_manifest(benchmark).classes
    assert list(names.values()) == [*classes.things, *classes.stuff]
    for image, record in zip(coco.loadImgs(coco.getImgIds()), records(benchmark), strict=True):
        with Image.open(out / "images" / image["file_name"]) as stored:
            assert stored.size == (image["width"], image["height"])
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert [names[each["category_id"]] for each in annotations] == [
            region.tags[0].text for region in record.regions
        ]
        for each, region in zip(annotations, record.regions, strict=True):
            np.testing.assert_array_equal(coco.annToMask(each).astype(bool), mask_ops.decode(region.mask))
            assert each["area"] == mask_ops.area(region.mask)
    captions = COCO(str(out / "annotations" / "captions.json"))
    assert [each["caption"] for each in captions.loadAnns(captions.getAnnIds())] == [
        record.captions[0].text for record in records(benchmark)
    ]


@pytest.mark.parametrize("regions", ["instances", "panoptic"])
def test_coco_comes_back_as_it_went(kit, benchmark, tmp_path, regions):
    out = export(benchmark, "coco", tmp_path / "out")
    files = {name: str(out / "annotations" / f"{name}.json") for name in ("captions", "instances", "panoptic")}
    options = {"annotations": (files["instances"],)} if regions == "instances" else {"panoptic": files["panoptic"]}
    done = kit.bring("coco", out / "images", tmp_path / "data", "benchmark", captions=files["captions"], **options)
    before = {record.key: record for record in records(benchmark)}
    assert done.manifest.classes.things == read_manifest(benchmark).classes.things
    assert len(done.records) == 9
    for record in done.records.values():
        expected = before[record.key]
        assert [c.text for c in record.captions] == [c.text for c in expected.captions]
        annotations = {(r.tags[0].text, r.is_stuff, r.mask.counts, r.box_xyxy) for r in record.regions}
        assert annotations == {(r.tags[0].text, r.is_stuff, r.mask.counts, r.box_xyxy) for r in expected.regions}


def test_a_dataset_of_captions_has_no_panoptic_file(kit, photos, tmp_path):
    kit.bring("folder", photos, tmp_path / "data")
    folder = tmp_path / "data" / "train"
    EXPORTS["coco"](Folder(folder), read_manifest(folder), tmp_path / "out", lambda _: None)
    assert sorted(path.name for path in (tmp_path / "out" / "annotations").iterdir()) == [
        "captions.json", "instances.json"
    ]  # fmt: skip
    content = json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())
    assert (len(content["images"]), content["annotations"], content["categories"]) == (10, [], [])


def spoil(benchmark, folder, change):
    """Copy the benchmark's scenes with another record in the first sample; the manifest fits."""
    shutil.copytree(benchmark, folder)
    manifest = read_manifest(folder)
    samples = list(read_shard(folder / manifest.shards[0].path))
    first = {**json.loads(samples[0].json)}
    change(first)
    writer = ShardWriter(folder / manifest.shards[0].path)
    for raw in (replace(samples[0], json=json.dumps(first).encode()), *samples[1:]):
        writer.write(raw)
    writer.close()
    info = describe_shard(folder / manifest.shards[0].path, len(samples))
    write_manifest(folder, manifest.model_copy(update={"shards": [info, *manifest.shards[1:]]}))
    return folder


def huge(record):
    record |= {"width": 100_000, "height": 100_000}
    for region in record["regions"]:
        region["mask"] = {"size": [100_000, 100_000], "counts": region["mask"]["counts"]}


CHANGES = {
    "a key that leads elsewhere": (
        lambda r: r.update(key="../../../evil"),
        "key: expected '.*' as in its file names, got ",
    ),
    "a key with a folder": (lambda r: r.update(key="/etc/evil"), "key: expected '.*' as in its file names, got"),
    "a huge image": (huge, "width, height: expected at most 268435456 pixels, got 100000 x 100000"),
    "a huge mask": (
        lambda r: r["regions"][0]["mask"].update(size=[100_000, 100_000]),
        r"regions.0.mask.size: expected \(96, 96\) as the image, got \(100000, 100000\)",
    ),
    "another size": (
        lambda r: r.update(width=48, regions=[]),
        "expected 48 x 96 pixels as recorded, got 96 x 96",
    ),
    "runs that are too short": (
        lambda r: r["regions"][0]["mask"].update(counts="1"),
        r"mask: expected a COCO RLE of 9216 pixels \(96 x 96\), got runs of 1: '1'",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_record_of_something_else_ends_the_export_by_name(benchmark, tmp_path, change):
    spoilt = spoil(benchmark, tmp_path / "in" / "data", CHANGES[change][0])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=rf"scenes-000000.tar:\w+: {CHANGES[change][1]}"):
        EXPORTS["coco"](Folder(spoilt), read_manifest(spoilt), tmp_path / "in" / "out", lambda _: None)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written anywhere"


def test_statistics_name_the_sample_whose_mask_is_none(benchmark, tmp_path):
    spoilt = spoil(benchmark, tmp_path / "data", CHANGES["runs that are too short"][0])
    error = CliRunner().invoke(app, ["data", "stats", str(spoilt)]).exception
    assert isinstance(error, DataError)
    assert re.match(r"\w+: region \w+: mask: expected a COCO RLE of 9216 pixels", str(error)), error


def test_names_in_a_tar_lead_nowhere(benchmark, tmp_path):
    raw = next(read_shard(benchmark / read_manifest(benchmark).shards[0].path))
    (tmp_path / "in").mkdir()
    record = json.dumps({**json.loads(raw.json), "key": "evil"}).encode()
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as tar:
        for name, data in (("../../evil.jpg", raw.image), ("../../evil.json", record)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    manifest = read_manifest(benchmark)
    write_manifest(
        tmp_path / "in", manifest.model_copy(update={"shards": [describe_shard(tmp_path / "in" / "a.tar", 1)]})
    )
    EXPORTS["coco"](Folder(tmp_path / "in"), read_manifest(tmp_path / "in"), tmp_path / "out", lambda _: None)
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["evil.jpg"]
    assert not list(tmp_path.parent.glob("evil*"))


def test_shards_in_s3_are_read_where_they_lie(benchmark, tmp_path, s3):
    for info in read_manifest(benchmark).shards:
        Storage().put(benchmark / info.path, s3 / f"elsewhere/{info.path}")
    manifest = read_manifest(benchmark)
    shards = [info.model_copy(update={"path": f"s3://bucket/elsewhere/{info.path}"}) for info in manifest.shards]
    (tmp_path / "data").mkdir()
    write_manifest(tmp_path / "data", manifest.model_copy(update={"shards": shards}))
    Storage().put(tmp_path / "data" / "manifest.json", s3 / "data/manifest.json")
    for where in (str(tmp_path / "data"), "s3://bucket/data"):
        name = "remote" if where.startswith("s3://") else "local"
        for command in (["verify"], ["head", "-n", "1"], ["stats"]):
            done = CliRunner().invoke(app, ["data", command[0], where, *command[1:]])
            assert done.exception is None, done.exception
        for command in (["export", where, "--to", "coco"], ["browse", where, "--count", "3"]):
            done = CliRunner().invoke(app, ["data", *command, "--out", str(tmp_path / f"{command[0]}-{name}")])
            assert done.exception is None, done.exception
        assert len(list((tmp_path / f"export-{name}" / "images").iterdir())) == 9
        assert len(list((tmp_path / f"browse-{name}" / "images").iterdir())) == 3


def test_a_flipped_byte_of_a_shard_in_s3_is_found(benchmark, tmp_path, s3):
    manifest = read_manifest(benchmark)
    content = bytearray((benchmark / manifest.shards[0].path).read_bytes())
    content[700] ^= 1
    (tmp_path / "a.tar").write_bytes(bytes(content))
    Storage().put(tmp_path / "a.tar", s3 / "a.tar")
    (tmp_path / "data").mkdir()
    shards = [manifest.shards[0].model_copy(update={"path": "s3://bucket/a.tar"})]
    write_manifest(tmp_path / "data", manifest.model_copy(update={"shards": shards}))
    error = CliRunner().invoke(app, ["data", "verify", str(tmp_path / "data")]).exception
    assert isinstance(error, DataError)
    assert f"s3://bucket/a.tar: expected sha256 {shards[0].sha256}, got " in str(error)
