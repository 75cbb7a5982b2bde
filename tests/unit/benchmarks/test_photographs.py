"""The data set of composed photographs, from a folder with a few pictures like those of Tux Paint."""

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
