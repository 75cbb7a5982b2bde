"""Cityscapes: labelIds with what is ignored as void, and the panoptic JSON with its groups."""

import json

import numpy as np
import pytest

from umgclip.errors import DataError

CATEGORIES = [{"id": 7, "name": "road", "isthing": 0}, {"id": 24, "name": "person", "isthing": 1}]


@pytest.fixture
def source(kit, tmp_path):
    root = tmp_path / "cityscapes"
    labels = np.full((30, 40), 7, np.int32)
    labels[:5], labels[5:8], labels[8:10], labels[10:12] = 3, 24, 29, 255  # out of roi, person, caravan, licence plate
    ids = np.full((30, 40), 7, np.int32)
    ids[:5], ids[5:8, :20], ids[5:8, 20:] = 0, 24_000, 24  # void, a person, a group of persons
    annotations, images = [], []
    for number in range(2):
        stem = f"frankfurt_{number:06d}_000294"
        kit.photo(root / "leftImg8bit" / "val" / "frankfurt" / f"{stem}_leftImg8bit.png", number)
        kit.write_map(root / "gtFine" / "val" / "frankfurt" / f"{stem}_gtFine_labelIds.png", labels)
        colours = np.stack([ids % 256, ids // 256, ids * 0], -1)
        kit.write_map(root / "gtFine" / "cityscapes_panoptic_val" / f"{stem}_gtFine_panoptic.png", colours)
        segments = [
            {"id": 7, "category_id": 7, "iscrowd": 0}, {"id": 24, "category_id": 24, "iscrowd": 1},
            {"id": 24_000, "category_id": 24, "iscrowd": 0},
        ]  # fmt: skip
        name = f"{stem}_gtFine_panoptic.png"
        annotations.append({"image_id": stem, "file_name": name, "segments_info": segments})
        # cityscapesScripts calls the images so, and no file is called so
        images.append({"id": stem, "file_name": f"{stem}_gtFine_leftImg8bit.png", "width": 40, "height": 30})
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (root / "gtFine" / "cityscapes_panoptic_val.json").write_text(json.dumps(content))
    return root


def bring(kit, source, task):
    return kit.bring("cityscapes", source, source.parent / "data", "benchmark", task=task)


def test_semantic(kit, source):
    done = bring(kit, source, "semantic")
    classes = done.manifest.classes
    assert (len(classes.things), len(classes.stuff)) == (8, 11)
    for record in done.records.values():
        assert kit.areas(record) == {"road": 18 * 40, "person*": 3 * 40}
    assert (done.quarantine, done.statistics["not_understood"]) == ([], {})


def test_panoptic(kit, source):
    done = bring(kit, source, "panoptic")
    assert (done.manifest.classes.things, done.manifest.classes.stuff) == (["person"], ["road"])
    assert len(done.records) == 2
    for record in done.records.values():
        assert kit.areas(record) == {"road": 22 * 40, "person": 60, "person*": 60}
    assert done.quarantine == []
    assert set(kit.measure(source.parent / "data" / "benchmark")) >= {"panoptic", "region", "semantic"}


@pytest.mark.parametrize(
    ("task", "lost", "message"),
    [
        ("semantic", "leftImg8bit", "leftImg8bit/val: expected a folder"),
        ("semantic", "gtFine/val", "gtFine/val: expected a folder"),
        ("panoptic", "gtFine/cityscapes_panoptic_val.json", r"panoptic_val\.json: expected the panoptic JSON"),
        ("panoptic", "gtFine/cityscapes_panoptic_val", "cityscapes_panoptic_val: expected a folder"),
    ],
)
def test_what_is_missing_is_named_with_its_home(kit, source, task, lost, message):
    (source / lost).rename(source.parent / "away")
    with pytest.raises(DataError, match=f"{message}.*found none; Cityscapes is at https://www.cityscapes-dataset.com"):
        bring(kit, source, task)


def test_a_missing_map_costs_its_image_only(kit, source):
    next((source / "gtFine" / "val").rglob("*000001_000294*")).unlink()
    done = bring(kit, source, "semantic")
    assert [reason for reason, _ in done.reasons] == ["no_masks"]
    assert len(done.records) == 1
