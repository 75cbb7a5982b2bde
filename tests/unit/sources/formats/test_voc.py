"""Pascal VOC: the kit's layout, XML beside the images, pixels that count from 1, subsets, flags, broken files."""

import pytest

from umgclip.errors import DataError, InputError


def xml(*objects, size="<size><width>40</width><height>30</height><depth>3</depth></size>"):
    return f"<annotation><filename>a.jpg</filename>{size}{''.join(objects)}</annotation>"


def thing(name="cat", box=(11, 6, 30, 24), more=""):
    sides = "".join(f"<{side}>{n}</{side}>" for side, n in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{sides}</bndbox></object>"


def regions(done, name):
    return [(region.tags[0].text, region.box_xyxy) for region in done.records[name].regions]


KIT = {
    "JPEGImages/a.jpg": 1,
    "Annotations/a.xml": xml(thing()),
    "JPEGImages/b.jpg": 2,
    "Annotations/b.xml": xml(thing("dog")),
    "JPEGImages/c.jpg": 3,
    "Annotations/c.xml": xml(thing("cow")),
    "ImageSets/Main/train.txt": "a\n",
    "ImageSets/Main/val.txt": "b\n",
    "ImageSets/Main/trainval.txt": "a\nb\n",
    "ImageSets/Main/cat_train.txt": "a  1\n",
    "ImageSets/Segmentation/train.txt": "c\n",
    "SegmentationClass/a.png": 9,
}


@pytest.mark.parametrize("root", ["", "VOCdevkit/VOC2012/"])
def test_the_layout_of_the_kit(kit, source, tmp_path, root):
    folder = source({f"{root}{name}": content for name, content in KIT.items()})
    done = kit.bring("voc", folder, tmp_path / "data")
    assert list(done.records) == [f"{root}JPEGImages/a.jpg"]
    assert regions(done, f"{root}JPEGImages/a.jpg") == [("cat", (10, 5, 30, 24))]
    assert done.statistics["told"] == {"images that are not in the subset train": 3}
    truth = kit.bring("voc", folder, tmp_path / "data", "benchmark", subset="trainval")
    assert truth.manifest.classes.things == ["cat", "dog"]
    with pytest.raises(InputError, match=r"subset: expected one of train, trainval, val, all, got 'test'"):
        kit.bring("voc", folder, tmp_path / "no", subset="test")


@pytest.mark.parametrize(
    "files",
    [
        {"a.jpg": 1, "a.xml": xml(thing())},
        {"train/a.jpg": 1, "train/a.xml": xml(thing())},
        {"images/a.jpg": 1, "annotations/a.xml": xml(thing())},
        {"JPEGImages/sub/a.jpg": 1, "Annotations/sub/a.xml": xml(thing()), "ImageSets/Main/default.txt": "sub/a\n"},
        {"pictures/a.jpg": 1, "xml/a.xml": xml(thing())},
    ],
)
def test_other_layouts(kit, source, tmp_path, files):
    done = kit.bring("voc", source(files), tmp_path / "data")
    (name,) = done.records
    assert regions(done, name) == [("cat", (10, 5, 30, 24))]
    assert done.quarantine == []


def test_pixels_count_from_1_or_as_it_is_said(kit, source, tmp_path):
    boxes = [
        thing(box=(1, 1, 40, 30)),
        thing(box=(5, 5, 5, 5)),
        thing(box=(0, 3, 10, 9)),
        thing(box=("2.0", 2, "9.5", 9)),
    ]
    folder = source({"a.jpg": 1, "a.xml": xml(*boxes)})
    done = kit.bring("voc", folder, tmp_path / "data")
    boxes = [box for _, box in regions(done, "a.jpg")]
    assert boxes == [(0, 0, 40, 30), (4, 4, 5, 5), (0, 2, 10, 9), (1, 1, 9.5, 9)]
    assert done.statistics["told"] == {"VOC boxes that begin at pixel 0 (files that count from 0: --first-pixel 0)": 1}
    again = kit.bring("voc", folder, tmp_path / "more", first_pixel=0)
    assert [box for _, box in regions(again, "a.jpg")] == [(1, 1, 40, 30), (0, 3, 10, 9), (2, 2, 9.5, 9)]
    assert again.reasons == [("bad_box", "a.jpg")]


def test_flags_parts_and_fields_are_counted(kit, source, tmp_path):
    more = "<pose>Left</pose><difficult>1</difficult><truncated>1</truncated><occluded>0</occluded><score>3</score>"
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    folder = source({"a.jpg": 1, "a.xml": xml(thing("traffic_light", more=more), thing("person", more=part))})
    done = kit.bring("voc", folder, tmp_path / "data")
    assert [name for name, _ in regions(done, "a.jpg")] == ["traffic light", "person"]
    assert done.statistics["told"] == {
        "objects that are difficult": 1,
        "objects that are truncated": 1,
        "objects with parts, which are not read": 1,
    }
    assert done.statistics["not_understood"] == {"object.score": 1}


def test_what_is_broken_costs_itself(kit, source, tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    files = {
        "a.xml": xml(thing(box=("x", 1, 2, 3)), thing(""), thing(box=(20, 1, 10, 3)), thing()),
        "b.xml": "<annotation><object>",
        "c.xml": bomb,
        "d.xml": "<html></html>",
        "e.xml": "<annotation></annotation>",
        "lone.xml": xml(),
        "f.xml": xml(thing(), size="<size><width>0</width><height>0</height></size>"),
        "g.xml": b"",
        **{f"{letter}.jpg": number for number, letter in enumerate("abcdefgh")},
    }
    done = kit.bring("voc", source(files), tmp_path / "data")
    assert len(done.records) == 8
    (cut,) = [row["detail"] for row in done.quarantine if row["shard"] == "b.jpg"]
    assert "expected XML, got other text" in cut
    assert "--encoding" not in cut, "it is no matter of letters"
    assert done.reasons == [
        ("bad_box", "a.jpg"),
        ("bad_box", "a.jpg"),
        ("bad_text", "b.jpg"),
        ("bad_text", "c.jpg"),
        ("bad_text", "d.jpg"),
        ("bad_text", "g.jpg"),
        ("no_class", "a.jpg"),
        ("no_image", "lone.xml"),
    ]
    assert done.records["e.jpg"].regions == []
    assert done.records["h.jpg"].regions is None
    assert done.statistics["told"] == {
        "VOC files that give no size of their image": 1,
        "images without Pascal VOC's XML": 1,
        "VOC files whose filename is another than that of their image": 1,  # f.xml
    }


@pytest.mark.parametrize(
    ("encoding", "option", "declared"),
    [
        ("utf-8", None, ""),
        ("utf-16", None, ""),
        ("latin-1", None, "latin-1"),
        ("latin-1", "latin-1", ""),
        ("gb18030", None, "gb18030"),
        ("gb18030", "gb18030", ""),
    ],
)
def test_encodings(kit, source, tmp_path, encoding, option, declared):
    name = "猫" if encoding == "gb18030" else "café"
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    folder = source({"a.jpg": 1, "a.xml": (head + xml(thing(name))).encode(encoding)})
    done = kit.bring("voc", folder, tmp_path / "data", encoding=option)
    assert regions(done, "a.jpg") == [(name, (10, 5, 30, 24))]


def test_an_image_that_was_resized_takes_its_boxes_along(kit, source, tmp_path):
    size = "<size><width>80</width><height>60</height></size>"
    done = kit.bring(
        "voc", source({"a.jpg": 1, "a.xml": xml(thing(box=(21, 11, 60, 48)), size=size)}), tmp_path / "data"
    )
    assert regions(done, "a.jpg") == [("cat", (10, 5, 30, 24))]


def test_a_file_of_another_name_may_say_its_image(kit, source, tmp_path):
    files = {"images/a.jpg": 1, "annotations/0001.xml": xml(thing()), "annotations/0002.xml": "<annotation/>"}
    done = kit.bring("voc", source(files), tmp_path / "data")
    assert regions(done, "images/a.jpg") == [("cat", (10, 5, 30, 24))]
    assert done.reasons == [("no_image", "annotations/0002.xml")]


def test_names_of_the_list_without_an_image_are_told(kit, source, tmp_path):
    files = {"JPEGImages/a.jpg": 1, "Annotations/a.xml": xml(thing()), "ImageSets/Main/train.txt": "a\nb\n"}
    done = kit.bring("voc", source(files), tmp_path / "data")
    assert done.reasons == [("no_image", "b")]


def test_no_xml_at_all(kit, source, tmp_path):
    with pytest.raises(DataError, match=r"expected Pascal VOC's XML \(\.xml\) beside the images"):
        kit.bring("voc", source({"a.jpg": 1}), tmp_path / "data")
