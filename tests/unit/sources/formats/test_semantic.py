"""Semantic maps: a region a class, crowds of things, void as nothing."""

import numpy as np
import pytest

from umgclip.errors import InputError

MAP = np.zeros((30, 40), np.int32)
MAP[:10], MAP[10:20, :20], MAP[25:] = 1, 2, 255


@pytest.fixture
def source(kit, tmp_path):
    for number, suffix in enumerate(("png", "tif", "mat")):
        kit.photo(tmp_path / "images" / "val" / f"{suffix}.jpg", number)
        kit.write_map(tmp_path / "maps" / "val" / f"{suffix}.{suffix}", MAP)
    (tmp_path / "classes.json").write_text(
        '[{"id": 0, "name": "grass"}, {"id": 1, "name": "sky"}, {"id": 2, "name": "dog, hound", "isthing": 1}]'
    )
    return tmp_path


def bring(kit, source, **options):
    given = {"masks": str(source / "maps"), "class_names": str(source / "classes.json"), "void": (255,), **options}
    return kit.bring("semantic", source / "images", source / "data", "benchmark", **given)


def test_maps_of_every_form_become_regions(kit, source):
    done = bring(kit, source)
    classes = done.manifest.classes
    assert (classes.things, classes.stuff, classes.names) == (["dog"], ["grass", "sky"], {"dog": ["dog", "hound"]})
    for record in done.records.values():
        assert kit.areas(record) == {"grass": 400, "sky": 400, "dog*": 200}
        assert [tag.text for tag in record.tags] == ["grass", "sky", "dog"]
    assert len(done.records) == 3
    assert done.quarantine == []
    assert "semantic" in kit.measure(source / "data" / "benchmark")


def test_numbers_that_nothing_explains_are_counted(kit, source):
    done = bring(kit, source, void=())
    assert done.statistics["not_understood"] == {"pixels of number 255": 3}


def test_an_image_without_its_truth_is_not_taken_in(kit, source):
    (source / "maps" / "val" / "png.png").unlink()
    (source / "maps" / "val" / "tif.tif").write_bytes(b"no map")
    done = bring(kit, source)
    assert list(done.records) == ["val/mat.jpg"]
    assert done.reasons == [("no_masks", "val/png.jpg"), ("no_masks", "val/tif.jpg")]


def test_classes_of_two_sources_are_joined(kit, source):
    bring(kit, source)
    kit.photo(source / "more" / "a.jpg", 9)
    kit.write_map(source / "more_maps" / "a.png", MAP)
    table = kit.write_text(source / "more.txt", "1: sea", "2: dog, puppy")
    with pytest.raises(InputError, match="yak"):
        kit.bring(
            "semantic", source / "more", source / "data", "benchmark", append=True, held_out=("yak",),
            masks=str(source / "more_maps"), class_names=str(table),
        )  # fmt: skip
    done = kit.bring(
        "semantic", source / "more", source / "data", "benchmark", append=True, held_out=("sea",),
        masks=str(source / "more_maps"), class_names=str(table),
    )  # fmt: skip
    classes = done.manifest.classes
    assert classes.stuff == ["grass", "sky", "sea", "dog"]
    assert (classes.things, classes.held_out) == (["dog"], ["sea"])
    assert classes.names == {"dog": ["dog", "hound", "puppy"]}
    assert len(done.records) == 4


def test_another_truth_is_another_import(kit, source):
    first = bring(kit, source).manifest.digest()
    kit.write_map(source / "maps" / "val" / "png.png", np.ones_like(MAP))
    assert bring(kit, source).manifest.digest() != first


def test_what_is_missing_is_named(kit, source):
    with pytest.raises(InputError, match="expected --masks, a folder of maps, and --class-names"):
        bring(kit, source, masks=None)
