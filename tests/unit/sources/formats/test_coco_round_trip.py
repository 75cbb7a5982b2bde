"""Exported as COCO and imported again: every record as it was."""

import json

import numpy as np
import pytest

from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.places import Folder
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, PairSide, Region, Source, Text
from umgclip.sources.exporting.catalog import EXPORTS


def texts(*words):
    return [Text(text=word, score=0.25 + n / 8, source="model@1") for n, word in enumerate(words)]


@pytest.fixture
def dataset(kit, tmp_path):
    """Four images with everything that a record can hold, also what COCO has no field for."""
    kit.bring("folder", photos(kit, tmp_path), tmp_path / "data")
    folder = tmp_path / "data" / "train"
    mask = np.zeros((30, 40), bool)
    mask[3:20, 4:17] = True
    box = (4.125, 3.0, 17.333333333, 20.5)
    regions = [
        Region(id="r1", box_xyxy=box, mask=mask_ops.encode(mask), score=0.5, tags=texts("cat", "animal"),
               captions=texts("a cat", "A cat!"), negatives=texts("a dog"), source="finder", mask_source="painter"),
        Region(id="r2", box_xyxy=(0, 0, 9, 9), tags=[], captions=None),
        Region(id="r3", box_xyxy=(0, 0, 40, 30), is_stuff=True, tags=texts("cross-walk"), mask=mask_ops.encode(~mask)),
        Region(id="r4", box_xyxy=(1, 1, 5, 5), is_crowd=True, tags=texts("Cat  (1)")),
    ]  # fmt: skip
    more = [
        {"captions": texts("one", "one ", " two"), "tags": texts("cat", "sky"), "regions": regions,
         "negative_tags": texts("dog"), "not_exhaustive": ["cat"],
         "pairs": [PairSide(id="1", pattern="Texts", text="one")],
         "source": Source(dataset="other/singles", url="http://a/b", license="CC BY 4.0")},
        {"captions": None, "tags": None, "regions": None},
        {"captions": [], "tags": [], "regions": []},
        {"captions": texts("only"), "tags": texts("tag"), "regions": None},
    ]  # fmt: skip
    samples = [raw for info in read_manifest(folder).shards for raw in shard(folder / info.path)]
    writer = ShardWriter(folder / "new.tar")
    for raw, about in zip(samples, more, strict=True):
        record = ImageRecord.model_validate_json(raw.json).model_copy(update=about)
        writer.write(RawSample(raw.key, raw.image, raw.extension, record.to_json()))
    writer.close()
    made_by = MadeBy(stage="test", params_sha256="", code_version="")
    write_manifest(folder, Manifest(made_by=made_by, shards=[describe_shard(folder / "new.tar", 4)]))
    return folder


def photos(kit, tmp_path):
    for number in range(4):
        kit.photo(tmp_path / "in" / f"{number}.jpg", number)
    return tmp_path / "in"


def shard(path):
    from umgclip.io.shards import read_shard

    return list(read_shard(path))


def records(folder):
    samples = [raw for info in read_manifest(folder).shards for raw in shard(folder / info.path)]
    return {raw.key: ImageRecord.model_validate_json(raw.json) for raw in samples}


def exported(dataset, out):
    EXPORTS["coco"](Folder(dataset), read_manifest(dataset), out, lambda _: None)
    return out / "annotations"


def again(kit, out, tmp_path, **options):
    files = {"captions": str(out / "captions.json"), "annotations": (str(out / "instances.json"),)}
    return kit.bring("coco", out.parent / "images", tmp_path / "again", **{**files, **options})


@pytest.mark.parametrize("to", ["coco", "webdataset"])
def test_every_record_comes_back(kit, dataset, tmp_path, to):
    before = records(dataset)
    if to == "coco":
        done = again(kit, exported(dataset, tmp_path / "out"), tmp_path)
    else:
        EXPORTS[to](Folder(dataset), read_manifest(dataset), tmp_path / "out", lambda _: None)
        done = kit.bring("webdataset", tmp_path / "out", tmp_path / "again")
    assert {record.key: record for record in done.records.values()} == before
    assert done.quarantine == []


def without_ours(path, **changes):
    """Return the file as programs that know only COCO rewrite it: without our key and with other ids."""
    content = json.loads(path.read_text())
    for section in ("images", "annotations", "categories"):
        for each in content.get(section, []):
            each.pop("umgclip", None)
    content["info"].pop("umgclip", None)
    for image in content["images"]:
        image["id"] = image["id"] + 1000.0
        image["file_name"] = f"images\\{image['file_name']}"
    for number, each in enumerate(content["annotations"]):
        each["image_id"] += 1000
        each["id"] = number
        each["attributes"] = {}
    path.write_text(json.dumps(content))


def test_other_programs_leave_no_marker_behind(kit, dataset, tmp_path):
    out = exported(dataset, tmp_path / "out")
    for name in ("captions", "instances"):
        without_ours(out / f"{name}.json")
    done = again(kit, out, tmp_path)
    full = next(record for record in done.records.values() if record.source.license)
    assert (full.source.url, full.source.license) == ("http://a/b", "CC BY 4.0")
    assert [[tag.text for tag in region.tags] for region in full.regions] == [["cat"], [], ["cross walk"], ["Cat (1)"]]
    assert [region.is_crowd for region in full.regions] == [False, False, False, True]
    assert "(unlabelled)" not in {tag.text for record in done.records.values() for tag in record.tags or []}


def test_what_was_changed_since_counts(kit, dataset, tmp_path):
    out = exported(dataset, tmp_path / "out")
    path = out / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [1, 2, 3, 4]
    content["annotations"][0]["segmentation"] = []
    content["annotations"][0]["category_id"] = 77
    content["categories"].append({"id": 77, "name": "lion"})
    path.write_text(json.dumps(content))
    done = again(kit, out, tmp_path)
    full = next(record for record in done.records.values() if record.source.license)
    first = full.regions[0]
    assert (first.box_xyxy, first.mask, [tag.text for tag in first.tags]) == ((1, 2, 4, 6), None, ["lion"])
    assert [text.text for text in full.tags] == ["sky", "lion"]  # the cat is gone
