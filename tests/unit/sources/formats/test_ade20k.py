"""ADE20K: 150 classes semantic and panoptic, and the full data set by a table of classes."""

import numpy as np
import pytest

from umgclip.errors import DataError, InputError

HEIGHT, WIDTH = 30, 40
TITLES = "Idx\tRatio\tTrain\tVal\tName"
NAMES = {1: "wall", 2: "building, edifice", 8: "bed ", 13: "person, individual", 22: "water"}


@pytest.fixture
def source(kit, tmp_path):
    """Write two images: wall above, two persons with an unmarked one in front, void below."""
    root = tmp_path / "ADEChallengeData2016"
    rows = [f"{number} \t0.1\t10\t1\t{name}" for number, name in NAMES.items()]
    kit.write_text(root / "objectInfo150.txt", TITLES, *rows)
    kit.write_text(root / "categoryMapping.txt", "Instance\tSemantic\tName", "1\t8\tbed", "4 13 person")
    semantic = np.ones((HEIGHT, WIDTH), np.int32)
    semantic[20:] = 0
    semantic[5:10, :15] = 13
    colours = np.zeros((HEIGHT, WIDTH, 3), np.int32)
    colours[5:10, :5] = (4, 1, 0)
    colours[5:12, 5:10] = (4, 2, 0)  # two lines of it over the wall
    for number in range(2):
        name = f"ADE_val_{number:08d}"
        kit.photo(root / "images" / "validation" / f"{name}.jpg", number)
        kit.write_map(root / "annotations" / "validation" / f"{name}.png", semantic)
        kit.write_map(root / "annotations_instance" / "validation" / f"{name}.png", colours)
    kit.photo(root / "images" / "training" / "ADE_train_00000000.jpg", 9)
    return root


def bring(kit, source, task, **options):
    return kit.bring("ade20k", source, source.parent / "data", "benchmark", task=task, **options)


def test_semantic(kit, source):
    done = bring(kit, source, "semantic", held_out=("bed", "water"))
    classes = done.manifest.classes
    assert classes.model_dump() == {
        "things": ["bed", "person"], "stuff": ["wall", "building", "water"], "held_out": ["bed", "water"],
        "names": {"person": ["person", "individual"], "building": ["building", "edifice"]},
    }  # fmt: skip
    assert list(done.records) == [f"images/validation/ADE_val_{n:08d}.jpg" for n in range(2)]
    for record in done.records.values():
        assert kit.areas(record) == {"wall": 20 * WIDTH - 75, "person*": 75}
    assert done.quarantine == []
    results = kit.measure(source.parent / "data" / "benchmark")
    assert {"semantic", "tagging"} <= set(results)
    assert "mask_top1" not in results.get("region", {})  # a semantic map has no single things


def test_panoptic(kit, source):
    done = bring(kit, source, "panoptic")
    record = done.records["images/validation/ADE_val_00000001.jpg"]
    # what is a person's in the semantic map and no instance's is void
    assert kit.areas(record) == {"wall": 20 * WIDTH - 75 - 10, "person": 25 + 35}
    assert sum(not region.is_stuff for region in record.regions) == 2
    assert set(kit.measure(source.parent / "data" / "benchmark")) == {"panoptic", "region", "semantic", "tagging"}
    assert done.statistics["not_understood"] == {}
    assert done.quarantine == []


def test_instances_of_unknown_classes_are_quarantined(kit, source):
    kit.write_text(source / "categoryMapping.txt", "Instance\tSemantic\tName", "1\t8\tbed")
    done = bring(kit, source, "panoptic")
    assert [row["reason"] for row in done.quarantine] == ["no_class"] * 4
    assert kit.areas(done.records["images/validation/ADE_val_00000000.jpg"]) == {"wall": 20 * WIDTH - 75 - 10}


@pytest.mark.parametrize(
    ("task", "lost", "message"),
    [
        ("semantic", "objectInfo150.txt", r"objectInfo150\.txt: expected the names of the 150 classes"),
        ("semantic", "annotations", "annotations/validation: expected a folder"),
        ("semantic", "images", "images/validation: expected a folder"),
        ("panoptic", "annotations_instance", "annotations_instance/validation: expected a folder"),
        ("panoptic", "categoryMapping.txt", r"categoryMapping\.txt: expected the classes of the instance task"),
    ],
)
def test_what_is_missing_is_named_with_its_home(kit, source, task, lost, message):
    (source / lost).rename(source.parent / "away")
    with pytest.raises(DataError, match=f"{message}.*found none; ADE20K.*http://sceneparsing.csail.mit.edu"):
        bring(kit, source, task)


def test_a_missing_map_costs_its_image_only(kit, source):
    (source / "annotations" / "validation" / "ADE_val_00000000.png").unlink()
    done = bring(kit, source, "semantic")
    assert len(done.records) == 1
    assert done.reasons == [("no_masks", "images/validation/ADE_val_00000000.jpg")]


def test_the_full_data_set(kit, tmp_path):
    folder = tmp_path / "ADE20K_2021_17_01" / "images" / "ADE" / "validation" / "urban" / "street"
    kit.photo(folder / "ADE_val_00000001.jpg", 1)
    colours = np.zeros((HEIGHT, WIDTH, 3), np.int32)
    colours[:10] = (2978 // 256 * 10, 2978 % 256, 3)
    colours[10:20, :20] = (2978 // 256 * 10, 2978 % 256, 7)  # another one of them
    colours[20:] = (0, 77, 1)  # not asked for
    kit.write_map(folder / "ADE_val_00000001_seg.png", colours)
    kit.write_map(folder / "ADE_val_00000001_parts_1.png", colours)
    table = kit.write_text(tmp_path / "a847.txt", "2978: wall", "312: building, edifice")
    root = tmp_path / "ADE20K_2021_17_01"
    done = bring(kit, root, "full", class_names=str(table))
    (record,) = done.records.values()
    assert kit.areas(record) == {"wall": 10 * WIDTH + 10 * 20}
    assert (done.manifest.classes.things, done.manifest.classes.stuff) == ([], ["wall", "building"])
    with pytest.raises(InputError, match="expected --class-names for the task full"):
        bring(kit, root, "full")
    with pytest.raises(DataError, match=r"images/ADE/training: expected a folder.*https://ade20k\.csail"):
        bring(kit, root, "full", class_names=str(table), subset="training")


def test_from_s3_as_from_a_folder(kit, source, s3):
    from umgclip.io.places import place_at

    bucket = place_at("s3://bucket/ade")
    for path in source.rglob("*.*"):
        bucket.put(path, str(path.relative_to(source)))
    here = bring(kit, source, "panoptic")
    there = kit.bring("ade20k", "s3://bucket/ade", source.parent / "other", "benchmark", task="panoptic")
    assert there.manifest.digest() == here.manifest.digest()
    with pytest.raises(DataError, match="s3://bucket/ade/images/testing: expected a folder|expected images"):
        kit.bring("ade20k", "s3://bucket/ade", source.parent / "other", "benchmark", subset="testing")
