"""YOLO's labels in the layouts of Ultralytics, Darknet, CVAT and Roboflow: boxes, polygons, and what is neither."""

import pytest

from umgclip.errors import DataError, InputError


def regions(done):
    return {
        name: [(region.tags[0].text, region.box_xyxy, region.mask is not None) for region in record.regions or []]
        for name, record in done.records.items()
    }


BOX = "0 0.5 0.5 0.5 0.2\n"
CAT = [("cat", (10, 12, 30, 18), False)]
LAYOUTS = {
    "Ultralytics": {"images/a.jpg": 1, "labels/a.txt": BOX, "data.yaml": "names: [cat, dog]\n"},
    "names by number": {"images/a.jpg": 1, "labels/a.txt": BOX, "coco8.yaml": "names: {0: cat, 1: dog}\nnc: 2\n"},
    "subsets in images": {
        "images/train/a.jpg": 1,
        "labels/train/a.txt": BOX,
        "images/val/b.jpg": 2,
        "labels/val/b.txt": BOX,
        "data.yaml": "path: ../somewhere\ntrain: images/train\nval: images/val\nnames: [cat]\n",
    },
    "Roboflow": {
        "train/images/a.jpg": 1,
        "train/labels/a.txt": BOX,
        "valid/images/b.jpg": 2,
        "valid/labels/b.txt": BOX,
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['cat']\n",
        "README.roboflow.txt": "hello",
    },
    "another machine's path": {
        "images/train/a.jpg": 1,
        "labels/train/a.txt": BOX,
        "data.yaml": "path: /content/x\ntrain: /content/x/images/train\nnames: [cat]\n",
    },
    "a list of images": {
        "images/a.jpg": 1,
        "labels/a.txt": BOX,
        "images/b.jpg": 2,
        "labels/b.txt": BOX,
        "data.yaml": "train: train.txt\nnames: [cat]\n",
        "train.txt": "./images/a.jpg\n",
    },
    "CVAT": {
        "obj_train_data/a.jpg": 1,
        "obj_train_data/a.txt": BOX,
        "obj.names": "cat\ndog\n",
        "train.txt": "data/obj_train_data/a.jpg\n",
        "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
    },
    "LabelImg": {"a.jpg": 1, "a.txt": BOX, "classes.txt": "cat\ndog\n"},
    "Label Studio": {"images/a.jpg": 1, "labels/a.txt": BOX, "classes.txt": "cat\n", "notes.json": "{}"},
    "Darknet of Roboflow": {"train/a.jpg": 1, "train/a.txt": BOX, "train/_darknet.labels": "cat\n"},
    "folders without a word": {
        "train/images/a.jpg": 1,
        "train/labels/a.txt": BOX,
        "val/images/b.jpg": 2,
        "val/labels/b.txt": BOX,
        "classes.txt": "cat\n",
    },
    "labels elsewhere": {"pictures/a.jpg": 1, "annotations/yolo/a.txt": BOX, "classes.txt": "cat\n"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(kit, source, tmp_path, layout):
    done = kit.bring("yolo", source(LAYOUTS[layout]), tmp_path / "data")
    (boxes,) = regions(done).values()
    assert boxes == CAT
    assert done.quarantine == []
    assert next(iter(done.records.values())).tags[0].source == "human"
    others = sum("b.jpg" in name for name in LAYOUTS[layout])
    assert done.statistics["told"] == ({"images that are not in the subset train": 1} if others else {})


def test_a_benchmark_is_the_subset_val_with_all_classes(kit, source, tmp_path):
    done = kit.bring("yolo", source(LAYOUTS["Roboflow"]), tmp_path / "data", "benchmark")
    assert list(done.records) == ["valid/images/b.jpg"]
    assert done.manifest.classes.things == ["cat"]
    every = kit.bring("yolo", tmp_path / "in", tmp_path / "all", subset="all")
    assert len(every.records) == 2
    with pytest.raises(InputError, match=r"subset: expected one of train, val, all, got 'test'"):
        kit.bring("yolo", tmp_path / "in", tmp_path / "no", subset="test")


def test_polygons_have_masks_and_scores_are_kept(kit, source, tmp_path):
    lines = [
        "0 0.25 0.2 0.75 0.2 0.75 0.8 0.25 0.8",
        "1 0.1 0.1 0.4 0.1 0.4 0.5",
        "1 0.5 0.5 0.5 0.2 0.75",
        "1 0.5 0.5 1.0 1.0",
    ]
    files = {"a.jpg": 1, "a.txt": "\n".join(lines), "classes.txt": "traffic_light\ncat\n"}
    done = kit.bring("yolo", source(files), tmp_path / "data")
    (objects,) = regions(done).values()
    assert objects[0] == ("traffic light", (10, 6, 30, 24), True)
    assert objects[2:] == [("cat", (10, 12, 30, 18), False), ("cat", (0, 0, 40, 30), False)]
    assert [region.score for region in done.records["a.jpg"].regions] == [1, 1, 0.75, 1]


def test_lines_that_are_none_cost_themselves(kit, source, tmp_path):
    lines = [
        "0 0.5 0.5 0.5 0.2",
        "0 0.5 0.5 0.5 0.2",
        "7 0.5 0.5 0.5 0.2",
        "0.5 0.5 0.5 0.5 0.2",
        "-1 0.5 0.5 0.5 0.2",
        "",
        "0 0.5 0.5",
        "0 20 15 10 6",
        "cat 0.5 0.5 0.5 0.2",
        "0 nan 0.5 0.5 0.2",
        "0 0.5 0.5 0 0.2",
        "0 1e999 0 0 0",
        "1.0 0.01 0.5 0.1 0.2",
    ]
    files = {"a.jpg": 1, "a.txt": "\n".join(lines), "classes.txt": "cat\ndog\n"}
    done = kit.bring("yolo", source(files), tmp_path / "data")
    (objects,) = regions(done).values()
    assert objects == [*CAT, ("dog", (0, 12, 2.4, 18), False)]
    assert sorted(row["reason"] for row in done.quarantine) == [
        "bad_box",
        "bad_box",
        "bad_region",
        "bad_region",
        "bad_region",
        "bad_region",
        "no_class",
        "no_class",
        "no_class",
    ]
    assert done.statistics["told"] == {"lines of YOLO labels that stand twice in their file": 1}


def test_images_without_labels_and_labels_without_images(kit, source, tmp_path):
    files = {
        "images/a.jpg": 1,
        "labels/a.txt": "",
        "images/b.jpg": 2,
        "labels/c.txt": BOX,
        "classes.txt": "cat\n",
        "images/d.jpg": 3,
        "labels/d.txt": BOX,
        "images/d.txt": BOX,
        "images/e.jpg": 4,
        "labels/e.txt": b"\xff\xfe\0",
    }
    done = kit.bring("yolo", source(files), tmp_path / "data")
    assert done.records["images/a.jpg"].regions == []
    assert done.records["images/b.jpg"].regions is None
    assert done.reasons == [("bad_text", "images/e.jpg"), ("no_image", "images/d.txt"), ("no_image", "labels/c.txt")]
    assert done.statistics["told"] == {
        "images without YOLO labels": 1,
        "images with a second file of YOLO labels, which is not read": 1,
    }


def test_names_come_from_where_it_is_said(kit, source, tmp_path):
    root = source({"a.jpg": 1, "a.txt": BOX})
    with pytest.raises(InputError, match=r"expected the names of the classes, found none: .* --class-names"):
        kit.bring("yolo", root, tmp_path / "data")
    names = kit.write_text(tmp_path / "names.txt", "zebra", "yak")
    done = kit.bring("yolo", root, tmp_path / "data", class_names=str(names))
    assert regions(done)["a.jpg"][0][0] == "zebra"


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ("names: [cat]\nnc: 2\n", "nc: expected 1, the number of names, got 2"),
        ("names: [cat]\nkpt_shape: [17, 3]\n", r"kpt_shape: expected boxes or polygons .* got key points"),
        ("names: [cat]\ntask: obb\n", "task: expected boxes or polygons"),
        ("names: 5\n", "names: expected a list of names"),
        ("names: {a: cat}\n", "names: expected a name for each number"),
        ("names: [cat\n", "expected YAML in UTF-8"),
        ("train: nowhere\nnames: [cat]\n", "expected a folder or a list of images in .*, got 'nowhere'"),
    ],
)
def test_a_description_that_does_not_fit_is_said(kit, source, tmp_path, described, message):
    root = source({"images/a.jpg": 1, "labels/a.txt": BOX, "data.yaml": described})
    with pytest.raises(InputError, match=message):
        kit.bring("yolo", root, tmp_path / "data")


def test_two_descriptions_that_differ_are_refused(kit, source, tmp_path):
    root = source({"a.jpg": 1, "a.txt": BOX, "data.yaml": "names: [cat, dog]\n", "classes.txt": "dog\ncat\n"})
    with pytest.raises(InputError, match=r"classes\.txt: names: expected those of data\.yaml, got others"):
        kit.bring("yolo", root, tmp_path / "data")


@pytest.mark.parametrize(("length", "what"), [(9, r"turned boxes \(OBB\)"), (56, r"key points \(pose\): 56 numbers")])
def test_turned_boxes_and_key_points_are_refused(kit, source, tmp_path, length, what):
    line = "0 " + " ".join(["0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5 0.2 0.2"] * 10).rsplit(" ", 101 - length)[0]
    assert len(line.split()) == length
    files = {"a.jpg": 1, "a.txt": f"{line}\n" * 12, "classes.txt": "cat\n"}
    with pytest.raises(InputError, match=f"{what}.*--task segment"):
        kit.bring("yolo", source(files), tmp_path / "data")


def test_no_labels_at_all(kit, source, tmp_path):
    root = source({"a.jpg": 1, "data.yaml": "names: [cat]\n"})
    with pytest.raises(DataError, match=r"expected YOLO labels \(\.txt\) beside the images or in labels/ next"):
        kit.bring("yolo", root, tmp_path / "data")


def test_a_label_file_elsewhere_belongs_to_one_image_alone(kit, source, tmp_path):
    files = {"a/1.jpg": 1, "b/1.jpg": 2, "yolo/1.txt": BOX, "c/2.jpg": 3, "yolo/2.txt": BOX, "classes.txt": "cat\n"}
    done = kit.bring("yolo", source(files), tmp_path / "data")
    assert {name: record.regions and len(record.regions) for name, record in done.records.items()} == {
        "a/1.jpg": None, "b/1.jpg": None, "c/2.jpg": 1,
    }  # fmt: skip
    assert done.reasons == [("ambiguous_name", "a/1.jpg"), ("ambiguous_name", "b/1.jpg"), ("no_image", "yolo/1.txt")]
