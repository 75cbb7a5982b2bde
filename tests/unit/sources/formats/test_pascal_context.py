"""PASCAL Context: MATLAB maps, the 459 classes and the 59 by name, the list of images."""

import numpy as np
import pytest

from umgclip.errors import DataError


@pytest.fixture
def source(kit, tmp_path):
    root = tmp_path / "VOC2010"
    kit.write_text(root / "labels.txt", "1: accordion", "2: aeroplane", "23: bedclothes", "397: table", "360: sky")
    kit.write_text(root / "59_labels.txt", "1: aeroplane", "2: diningtable", "3: sky", "4: bedcloth")
    kit.write_text(root / "val.txt", "2008_000002", "2008_000003")
    values = np.zeros((30, 40), np.int32)
    values[:10], values[10:12], values[12:20], values[20:22] = 360, 397, 1, 2
    for number in range(2, 5):
        kit.photo(root / "JPEGImages" / f"2008_{number:06d}.jpg", number)
        kit.write_map(root / "trainval" / f"2008_{number:06d}.mat", values)
    return root


def bring(kit, source, task, **options):
    return kit.bring("pascal_context", source, source.parent / "data", "benchmark", task=task, **options)


def test_59_classes_are_found_among_all_by_name(kit, source):
    done = bring(kit, source, "59")
    assert done.manifest.classes.stuff == ["aeroplane", "diningtable", "sky", "bedcloth"]
    assert list(done.records) == ["JPEGImages/2008_000002.jpg", "JPEGImages/2008_000003.jpg"]
    for record in done.records.values():
        assert kit.areas(record) == {"sky": 400, "diningtable": 80, "aeroplane": 80}
    assert (done.quarantine, done.statistics["not_understood"]) == ([], {})
    assert "semantic" in kit.measure(source.parent / "data" / "benchmark")


def test_459_classes(kit, source):
    record = bring(kit, source, "459").records["JPEGImages/2008_000002.jpg"]
    assert kit.areas(record) == {"sky": 400, "table": 80, "accordion": 320, "aeroplane": 80}


def test_a_list_says_which_images_count(kit, source):
    listed = kit.write_text(source.parent / "list.txt", "JPEGImages/2008_000004.jpg trainval/2008_000004.mat")
    assert list(bring(kit, source, "59", listed=str(listed)).records) == ["JPEGImages/2008_000004.jpg"]


@pytest.mark.parametrize("lost", ["labels.txt", "59_labels.txt", "val.txt", "JPEGImages", "trainval"])
def test_what_is_missing_is_named_with_its_home(kit, source, lost):
    (source / lost).rename(source.parent / "away")
    with pytest.raises(DataError, match=f"{lost}: expected .* found none; PASCAL Context is at https://cs.stanford"):
        bring(kit, source, "59")


def test_broken_and_missing_maps_cost_their_image_only(kit, source):
    (source / "trainval" / "2008_000002.mat").write_bytes(b"no MATLAB file")
    (source / "trainval" / "2008_000003.mat").unlink()
    (source / "val.txt").write_text("2008_000002\n2008_000003\n2008_000004\n")
    done = bring(kit, source, "59")
    assert len(done.records) == 1
    assert done.reasons == [("no_masks", f"JPEGImages/2008_00000{n}.jpg") for n in (2, 3)]


def test_a_name_of_the_59_that_is_none_of_all_is_named(kit, source):
    kit.write_text(source / "59_labels.txt", "1: zeppelin")
    with pytest.raises(DataError, match=r"59_labels\.txt: expected names of labels\.txt, got 'zeppelin'"):
        bring(kit, source, "59")
