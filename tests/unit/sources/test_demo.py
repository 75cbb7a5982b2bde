"""The demo: the same bytes every time, a truth that fits its pixels, and a training set that knows none of it."""

import hashlib

import numpy as np
import pytest

from umgclip.data.stream import decode, read_raw
from umgclip.errors import DataError
from umgclip.geometry import masks
from umgclip.io.manifest import read_manifest
from umgclip.params import DataParams
from umgclip.sources.demo.classes import STUFF, things
from umgclip.sources.demo.scenes import write_demo

PARAMS = DataParams(train_scenes=12, benchmark_scenes=10, benchmark_singles=8, shard_samples=5)


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def samples(dataset):
    return [decode(raw, shard) for shard, raw in read_raw(dataset)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "data"
    write_demo(PARAMS, out)
    return out


def test_two_runs_give_the_same_bytes(demo, tmp_path):
    write_demo(PARAMS, tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(demo)


def test_another_seed_gives_other_scenes(demo, tmp_path):
    write_demo(PARAMS.model_copy(update={"seed": 1}), tmp_path / "other")
    keys = {sample.record.key for sample in samples(demo / "train")}
    assert keys.isdisjoint(sample.record.key for sample in samples(tmp_path / "other" / "train"))


def test_more_scenes_do_not_change_the_first(demo, tmp_path):
    write_demo(PARAMS.model_copy(update={"train_scenes": 14, "benchmark_scenes": 3}), tmp_path / "more")
    first = [sample.record.key for sample in samples(demo / "train")]
    assert [sample.record.key for sample in samples(tmp_path / "more" / "train")][:12] == first


def test_training_knows_images_and_alt_texts_only(demo):
    assert read_manifest(demo / "train").classes is None
    for sample in samples(demo / "train"):
        assert sample.record.regions is None
        assert sample.record.tags is None
        assert [caption.source for caption in sample.record.captions] == ["alt"]


def test_benchmark_regions_fit_their_masks_and_share_no_pixel(demo):
    for sample in samples(demo / "benchmark"):
        height, width = sample.pixels.shape[:2]
        drawn = np.stack([masks.decode(region.mask) for region in sample.record.regions])
        assert drawn.shape[1:] == (height, width) == (sample.record.height, sample.record.width)
        assert (drawn.sum(axis=0) == 1).all()  # every pixel is one thing or the ground
        assert [region.box_xyxy for region in sample.record.regions] == [masks.box_of(mask) for mask in drawn]
        assert [region.is_stuff for region in sample.record.regions] == [False] * (len(drawn) - 1) + [True]


def test_captions_name_what_is_there(demo):
    for sample in samples(demo / "benchmark"):
        caption = sample.record.captions[0].text
        for region in sample.record.regions:
            name = region.tags[0].text
            assert name in STUFF if region.is_stuff else name in caption


def test_singles_hold_one_thing_each_and_take_the_classes_in_turn(demo):
    singles = [s.record for s in samples(demo / "benchmark") if s.record.source.dataset == "demo/singles"]
    names = [record.regions[0].tags[0].text for record in singles]
    assert names == [thing.name for thing in things()[:8]]
    assert all(len(record.regions) == 2 for record in singles)


def test_the_manifest_names_classes_and_marks_every_fifth_as_held_out(demo):
    classes = read_manifest(demo / "benchmark").classes
    assert len(classes.things) == len(set(classes.things)) == 147
    assert classes.stuff == list(STUFF)
    assert classes.held_out == classes.things[4::5]


def test_no_benchmark_image_is_in_training(demo):
    train = {sample.record.sha256 for sample in samples(demo / "train")}
    assert train.isdisjoint(sample.record.sha256 for sample in samples(demo / "benchmark"))


def test_the_licence_of_the_art_goes_with_the_images(demo):
    assert "CC BY-SA 4.0" in read_manifest(demo / "train").notes["license"]
    assert all("CC BY-SA 4.0" in sample.record.source.license for sample in samples(demo / "train"))


def test_a_demo_that_failed_is_no_dataset(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("umgclip.sources.demo.scenes.ShardWriter.close", fail)
    with pytest.raises(KeyboardInterrupt):
        write_demo(PARAMS, tmp_path / "data")
    with pytest.raises(DataError, match="found none"):
        read_manifest(tmp_path / "data" / "train")
