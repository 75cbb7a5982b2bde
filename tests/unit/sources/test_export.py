"""Datasets handed on: read back by this package, and by pycocotools and webdataset."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from umgclip.data.stream import read_raw
from umgclip.geometry import masks as mask_ops
from umgclip.io.places import Folder
from umgclip.manifest import read_manifest
from umgclip.params import DataParams
from umgclip.records import parse_record
from umgclip.sources.demo import write_demo
from umgclip.sources.export import EXPORTS


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
        found = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert [names[each["category_id"]] for each in found] == [region.tags[0].text for region in record.regions]
        for each, region in zip(found, record.regions, strict=True):
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
        found = {(r.tags[0].text, r.is_stuff, r.mask.counts, r.box_xyxy) for r in record.regions}
        assert found == {(r.tags[0].text, r.is_stuff, r.mask.counts, r.box_xyxy) for r in expected.regions}


def test_a_dataset_of_captions_has_no_panoptic_file(kit, photos, tmp_path):
    kit.bring("folder", photos, tmp_path / "data")
    folder = tmp_path / "data" / "train"
    EXPORTS["coco"](Folder(folder), read_manifest(folder), tmp_path / "out", lambda _: None)
    assert sorted(path.name for path in (tmp_path / "out" / "annotations").iterdir()) == [
        "captions.json", "instances.json"
    ]  # fmt: skip
    content = json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())
    assert (len(content["images"]), content["annotations"], content["categories"]) == (10, [], [])
