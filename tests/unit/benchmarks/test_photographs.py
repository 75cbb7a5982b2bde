"""The data set of composed photographs, from a folder with a few pictures like those of Tux Paint."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import photographs
from umgclip.data.stream import decode, read_raw
from umgclip.errors import InputError
from umgclip.geometry import masks
from umgclip.io.manifest import read_manifest
from umgclip.params import DataParams

PARAMS = DataParams(train_scenes=6, benchmark_scenes=6, benchmark_singles=3, shard_samples=6, image_px=64, max_things=3)
# file: description; `flat` is a drawing, the last two are not named by one noun
STAMPS = {
    "cow": "A cow.",
    "cow_white": "A white cow.",
    "plier": "A pair of pliers.",
    "wrench": "A plumber’s wrench.",
    "cow_brown": "A brown cow (a heifer).",
    "flat": "A house.",
    "coin": "A coin, of one cent, called a penny.",
    "cup": "Drink! It is good.",
}


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuxpaint")
    rng = np.random.default_rng(0)
    (folder / "stamps" / "animals").mkdir(parents=True)
    (folder / "templates").mkdir()
    for name, text in STAMPS.items():
        pixels = np.zeros((50, 40, 4), np.uint8)
        pixels[5:45, 4:36] = 255
        pixels[..., :3] = 90 if name == "flat" else rng.integers(0, 256, (50, 40, 3))
        Image.fromarray(pixels).save(folder / "stamps" / "animals" / f"{name}.png")
        (folder / "stamps" / "animals" / f"{name}.txt").write_text(f"{text}\nde.utf8=Etwas.\n", encoding="utf-8")
    for file, _ in photographs.GROUNDS.values():
        Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(folder / "templates" / f"{file}.jpg")
    return folder


def test_photographs_are_named_by_the_last_word_of_what_they_show(share):
    assert sorted((one.path.stem, one.name) for one in photographs.cut_outs(share)) == [
        ("cow", "cow"), ("cow_brown", "cow"), ("cow_white", "cow"), ("plier", "pliers"), ("wrench", "wrench"),
    ]  # fmt: skip


def test_one_of_several_photographs_is_unseen_in_training(share):
    chosen = photographs.choose(photographs.cut_outs(share), 2)
    train, benchmark = photographs.split(chosen)
    assert {name: [one.path.stem for one in photos] for name, photos in train.items()} == {
        "cow": ["cow", "cow_brown"], "pliers": ["plier"],
    }  # fmt: skip
    assert [one.path.stem for one in benchmark["cow"]] == ["cow", "cow_brown", "cow_white"]


def test_the_data_set_has_the_form_of_the_demo(share, tmp_path):
    counts, held_out = photographs.write_photographs(PARAMS, tmp_path / "data", 3, share=share)
    assert counts == {"train": 6, "benchmark scenes": 6, "benchmark singles": 3}
    assert held_out == []
    manifest = read_manifest(tmp_path / "data" / "benchmark")
    assert manifest.classes.things == ["cow", "pliers", "wrench"]
    assert manifest.classes.stuff == list(photographs.GROUNDS)
    assert "GPL-2+" in manifest.notes["license"]
    train = [decode(raw, shard).record for shard, raw in read_raw(tmp_path / "data" / "train")]
    assert all(record.captions and not record.regions and record.tags is None for record in train)
    for shard, raw in read_raw(tmp_path / "data" / "benchmark"):
        record = decode(raw, shard).record
        covered = sum(masks.decode(region.mask).astype(int) for region in record.regions)
        assert covered.min() == covered.max() == 1
        assert all(region.box_xyxy == masks.tight_box(region.mask) for region in record.regions)


def test_an_object_takes_the_light_of_its_ground():
    canvas = np.full((8, 8, 3), 0.2, np.float32)
    layer = np.zeros((8, 8, 4), np.float32)
    layer[2:6, 2:6] = [0.7, 0.5, 0.1, 1.0]
    matched = photographs.photograph_art({}, match=0.5).fit(canvas, layer)
    assert matched[3, 3] == pytest.approx([0.45, 0.35, 0.15, 1.0])
    assert not matched[layer[..., 3] == 0].any()


def test_without_the_package_it_says_what_to_install(tmp_path):
    with pytest.raises(InputError, match=r"stamps: expected the stamps of Tux Paint, got none; run: apt-get install"):
        photographs.cut_outs(tmp_path)


@pytest.fixture(scope="module")
def pictured():
    """The script that makes the photographs and the pictures of docs/photographs.md."""
    path = Path(__file__).parents[3] / "docs" / "figures" / "photographs.py"
    spec = importlib.util.spec_from_file_location("pictured_photographs", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_folder_of_photographs_has_captions_and_its_truth(pictured, share, tmp_path):
    pictured.compose_photographs(tmp_path, share, {"photos": 3, "test": 2, "new": 1})
    with (tmp_path / "photos" / "captions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == ["IMG_0000.jpg", "IMG_0001.jpg", "IMG_0002.jpg"]
    assert all("cow" in row["caption"] or "wrench" in row["caption"] for row in rows)
    for truth, count in (("truth.json", 3), ("test/instances.json", 2)):
        coco = json.loads((tmp_path / truth).read_text(encoding="utf-8"))
        assert len(coco["images"]) == count
        assert {one["image_id"] for one in coco["annotations"]} == set(range(count))
        for one in coco["annotations"]:
            x, y, width, height = one["bbox"]
            assert min(x, y) >= 0
            assert max(x + width, y + height) <= pictured.SIDE_PX
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["IMG_0000.jpg"]
