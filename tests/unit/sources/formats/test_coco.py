"""COCO's files: captions, instances, panoptic segments; against pycocotools where it reads them."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.places import Folder
from umgclip.sources.formats.coco.maps import read_map

CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person", "isthing": 1},
    {"id": 18, "name": "cell_phone", "supercategory": "electronic", "isthing": 1},
    {"id": 184, "name": "wall-other-merged", "supercategory": "wall", "isthing": 0},
]
WIDTH, HEIGHT = 40, 30


@pytest.fixture
def source(kit, tmp_path):
    """Three images and the three files about them."""
    for number in range(3):
        kit.photo(tmp_path / "val2017" / f"{number:012d}.jpg", number)
    images = [
        {"id": n, "file_name": f"{n:012d}.jpg", "width": WIDTH, "height": HEIGHT, "license": 4,
         "coco_url": f"http://images/{n}"}
        for n in range(3)
    ]  # fmt: skip
    captions = [{"id": n, "image_id": n % 3, "caption": f"caption {n}\n"} for n in range(6)]
    captions.append({"id": 99, "image_id": 77, "caption": "of no image"})
    folder = tmp_path / "annotations"
    folder.mkdir()
    licenses = [{"id": 4, "name": "CC BY 2.0", "url": "http://cc"}]
    write(folder / "captions.json", {"licenses": licenses, "images": images, "annotations": captions})
    write(folder / "instances.json", {"images": images, "annotations": instances(), "categories": CATEGORIES[:2]})
    panoptic(folder, images)
    return tmp_path


def write(path, content):
    path.write_text(json.dumps(content))


def instances():
    crowd = {"size": [HEIGHT, WIDTH], "counts": [100, 50, HEIGHT * WIDTH - 150]}
    return [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [5, 6, 10, 12], "iscrowd": 0,
         "segmentation": [[5, 6, 15, 6, 15, 18, 5, 18], [20, 20, 25, 20, 25, 25]]},
        {"id": 2, "image_id": 0, "category_id": 18, "bbox": [30.5, 20.25, 20, 20], "iscrowd": 0, "segmentation": []},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "iscrowd": 1, "segmentation": crowd},
        {"id": 4, "image_id": 1, "category_id": 5, "bbox": [0, 0, 10, 10], "iscrowd": 0},
        {"id": 5, "image_id": 1, "category_id": 1, "bbox": [3, 3, 0, 4], "iscrowd": 0},
    ]  # fmt: skip


def panoptic(folder, images):
    (folder / "panoptic").mkdir()
    annotations = []
    for image in images[:2]:
        ids = np.full((HEIGHT, WIDTH), 70_000, np.int32)
        ids[5:15, 5:20] = 300
        ids[:2] = 0  # void
        ids[20:22] = 301
        name = f"{image['id']:012d}.png"
        Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(
            folder / "panoptic" / name
        )
        segments = [
            {"id": 300, "category_id": 1, "iscrowd": 0}, {"id": 301, "category_id": 1, "iscrowd": 1},
            {"id": 70_000, "category_id": 184, "iscrowd": 0},
        ]  # fmt: skip
        annotations.append({"image_id": image["id"], "file_name": name, "segments_info": segments})
    write(folder / "panoptic.json", {"images": images, "annotations": annotations, "categories": CATEGORIES})


def files(source, *names):
    return {name: str(source / "annotations" / f"{name}.json") for name in names}


def bring(kit, source, split="train", **options):
    if "instances" in options:
        options["annotations"] = (options.pop("instances"),)
    return kit.bring("coco", source / "val2017", source / "data", split, **options)


def test_captions_and_instances_of_a_training_set(kit, source):
    done = bring(kit, source, **files(source, "captions", "instances"))
    first, second, third = (done.records[f"{n:012d}.jpg"] for n in range(3))
    assert [text.text for text in first.captions] == ["caption 0", "caption 3"]
    assert {text.source for text in [*first.captions, *first.tags]} == {"human"}
    assert (first.source.license, first.source.url) == ("CC BY 2.0", "http://images/0")
    person, phone = first.regions
    assert (person.id, person.box_xyxy, person.tags[0].text) == ("given-1", (5, 6, 15, 18), "person")
    oracle = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(instances()[0]["segmentation"], HEIGHT, WIDTH)))
    np.testing.assert_array_equal(mask_ops.decode(person.mask), oracle.astype(bool))
    assert phone.box_xyxy == (30.5, 20.25, 40, 30)  # cut to the image
    assert (phone.mask, phone.tags[0].text) == (None, "cell phone")
    assert [text.text for text in first.tags] == ["person", "cell phone"]
    (crowd,) = second.regions
    assert mask_ops.area(crowd.mask) == 50
    assert third.regions == []  # asked for, and nothing there
    assert done.manifest.classes is None
    assert done.reasons == [("bad_box", "000000000001.jpg"), ("no_class", "000000000001.jpg"), ("no_image", "77")]


def test_instances_of_a_benchmark_keep_crowds_as_such_and_name_their_classes(kit, source):
    done = bring(kit, source, "benchmark", held_out=("cell phone",), **files(source, "instances"))
    assert done.manifest.classes.model_dump() == {
        "things": ["person", "cell phone"], "stuff": [], "held_out": ["cell phone"]
    }  # fmt: skip
    (crowd,) = done.records["000000000001.jpg"].regions
    assert (crowd.is_crowd, mask_ops.area(crowd.mask)) == (True, 50)
    assert [region.is_crowd for region in done.records["000000000000.jpg"].regions] == [False, False]
    assert done.records["000000000000.jpg"].captions is None


def test_panoptic_segments_become_things_and_stuff(kit, source):
    from umgclip.evaluate.examples import open_benchmark, read_examples

    done = bring(kit, source, "benchmark", **files(source, "captions", "panoptic"))
    assert done.manifest.classes.model_dump() == {"things": ["person", "cell phone"], "stuff": ["wall"], "held_out": []}
    thing, crowd, stuff = done.records["000000000000.jpg"].regions
    assert (thing.box_xyxy, thing.is_stuff, stuff.is_stuff) == ((5, 5, 20, 15), False, True)
    assert [region.is_crowd for region in (thing, crowd, stuff)] == [False, True, False]
    assert mask_ops.area(stuff.mask) == HEIGHT * WIDTH - 4 * WIDTH - 150
    folder = source / "data" / "benchmark"
    _, classes = open_benchmark(folder)
    example = next(read_examples(folder, classes))
    ids, labels = example.segments
    assert (labels[ids[10, 10]], labels[ids[25, 25]], ids[0, 0]) == (0, 2, 0)
    assert example.captions == ("caption 0", "caption 3")


def test_missing_masks_and_images_are_quarantined(kit, source):
    (source / "annotations" / "panoptic" / "000000000001.png").unlink()
    (source / "val2017" / "000000000002.jpg").unlink()
    done = bring(kit, source, **files(source, "panoptic"))
    assert done.reasons == [("no_image", "000000000002.jpg"), ("no_masks", "000000000001.jpg")]
    assert list(done.records) == ["000000000000.jpg"]  # what nobody knows anything of is not taken in


def test_a_folder_of_masks_that_is_missing_is_named_with_its_home(kit, source):
    (source / "annotations" / "panoptic").rename(source / "away")
    with pytest.raises(DataError, match=r"annotations/panoptic: expected the PNG files .*https://cocodataset\.org"):
        bring(kit, source, **files(source, "panoptic"))


@pytest.mark.parametrize("as_shown", [True, False])
def test_annotations_of_turned_images_are_turned_when_they_speak_of_the_file(kit, tmp_path, as_shown):
    kit.photo(tmp_path / "in" / "a.jpg", 1, width=40, height=30, orientation=6)  # shown as 30 x 40
    size, box = ((30, 40), [2, 3, 8, 10]) if as_shown else ((40, 30), [3, 20, 10, 8])
    image = {"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}
    x, y, w, h = box
    ring = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "segmentation": ring, "iscrowd": 0}
    write(tmp_path / "i.json", {"images": [image], "annotations": [annotation], "categories": CATEGORIES})
    done = kit.bring("coco", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "i.json"),))
    record = done.records["a.jpg"]
    assert (record.width, record.height) == (30, 40)
    assert record.regions[0].box_xyxy == (2, 3, 10, 13)
    assert mask_ops.tight_box(record.regions[0].mask) == (2, 3, 10, 13)
    with Image.open(io.BytesIO(done.images["a.jpg"])) as stored:
        assert stored.size == (30, 40)


def test_annotations_of_images_that_were_resized_follow(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg", 1, width=40, height=30)
    kit.photo(tmp_path / "in" / "b.jpg", 2, width=40, height=30)
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 80, "height": 60},
        {"id": 2, "file_name": "b.jpg", "width": 80, "height": 80},
    ]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 20, 20, 20], "iscrowd": 0,
         "segmentation": [[10, 20, 30, 20, 30, 40, 10, 40]]}
        for n in (1, 2)
    ]  # fmt: skip
    write(tmp_path / "i.json", {"images": images, "annotations": annotations, "categories": CATEGORIES})
    done = kit.bring("coco", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "i.json"),))
    assert done.records["a.jpg"].regions[0].box_xyxy == (5, 10, 15, 20)
    assert mask_ops.tight_box(done.records["a.jpg"].regions[0].mask) == (5, 10, 15, 20)
    assert (done.records["b.jpg"].regions, done.records["b.jpg"].tags) == (None, None)  # nobody knows
    assert done.reasons == [("size_mismatch", "b.jpg")]


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param({"size": [30, 40], "counts": [5, 5]}, id="too few pixels"),
        pytest.param({"size": [30, 40], "counts": "not a mask at all 12345"}, id="not a code"),
        pytest.param({"size": [3, 4], "counts": [12]}, id="another size"),
        pytest.param([[1, 2, 3, 4]], id="two points"),
        pytest.param([["a", 2, 3, 4, 5, 6]], id="no numbers"),
        pytest.param({"size": [30, 40], "counts": [1200]}, id="empty"),
        pytest.param(7, id="a number"),
    ],
)
def test_bad_masks_cost_only_themselves(kit, tmp_path, segmentation):
    kit.photo(tmp_path / "in" / "a.jpg", 1)
    image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
    good = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 0}
    bad = {**good, "id": 2, "segmentation": segmentation}
    worse = {**bad, "id": 3, "bbox": [1, 1, 0, 5]}
    write(tmp_path / "i.json", {"images": [image], "annotations": [good, bad, worse], "categories": CATEGORIES})
    done = kit.bring("coco", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "i.json"),))
    assert [region.id for region in done.records["a.jpg"].regions] == ["given-1", "given-2"]
    assert done.records["a.jpg"].regions[1].mask is None
    assert [row["region_id"] for row in done.quarantine] == ["given-2", "given-3"]
    assert done.statistics["told"] == {"regions that keep their box alone": 1}


def test_lvis_has_no_file_names(kit, tmp_path):
    kit.photo(tmp_path / "in" / "000000391895.jpg", 1)
    image = {"id": 391895, "coco_url": "http://images.cocodataset.org/train2017/000000391895.jpg"}
    write(tmp_path / "i.json", {"images": [image], "annotations": [], "categories": CATEGORIES})
    done = kit.bring("coco", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "i.json"),))
    assert list(done.records) == ["000000391895.jpg"]


def test_lvis_says_what_it_checked(kit, tmp_path):
    for number, folder in enumerate(("train2017", "val2017")):
        kit.photo(tmp_path / "coco" / folder / f"{number:012d}.jpg", number)
    images = [
        {"id": n, "coco_url": f"http://images.cocodataset.org/{folder}/{n:012d}.jpg",
         "neg_category_ids": [2, 3], "not_exhaustive_category_ids": [1]}
        for n, folder in enumerate(("train2017", "val2017"))
    ]  # fmt: skip
    categories = [
        {"id": 1, "name": "bow_(weapon)", "synonyms": ["bow_(weapon)"], "frequency": "r"},
        {"id": 2, "name": "cellular_telephone", "synonyms": ["cellular_telephone", "cell_phone"], "frequency": "f"},
        {"id": 3, "name": "crow", "synonyms": ["crow"], "frequency": "r"},
    ]
    annotations = [{"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}]
    write(tmp_path / "lvis.json", {"images": images, "annotations": annotations, "categories": categories})
    done = kit.bring(
        "coco", tmp_path / "coco", tmp_path / "data", "benchmark", annotations=(str(tmp_path / "lvis.json"),)
    )
    classes = done.manifest.classes
    assert classes.names == {"cellular telephone": ["cellular telephone", "cell phone"]}
    assert classes.groups == {"rare": ["bow (weapon)", "crow"], "frequent": ["cellular telephone"]}
    record = done.records["val2017/000000000001.jpg"]
    assert [tag.text for tag in record.negative_tags] == ["cellular telephone", "crow"]
    assert record.not_exhaustive == ["bow (weapon)"]
    assert [tag.text for tag in record.tags] == ["bow (weapon)"]
    assert len(done.records) == 2  # one of each folder
    assert done.quarantine == []
    assert set(kit.measure(tmp_path / "data" / "benchmark")) == {"region", "tagging"}


def test_requests_that_fit_nothing_are_refused(kit, source):
    with pytest.raises(InputError, match="expected --captions, --instances or --panoptic"):
        bring(kit, source)
    with pytest.raises(InputError, match="expected instances or panoptic, got both"):
        bring(kit, source, **files(source, "instances", "panoptic"))
    write(source / "other.json", {"data": []})
    with pytest.raises(DataError, match=r"other\.json: images: expected a list of images"):
        bring(kit, source, captions=str(source / "other.json"))
    with pytest.raises(DataError, match=r"nothing\.json: expected a file, found none; COCO is at https"):
        bring(kit, source, captions=str(source / "nothing.json"))


def test_an_image_that_is_listed_with_two_sizes_is_nobodys(kit, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        kit.photo(tmp_path / "in" / name, len(name), width=40, height=30)
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30},
        {"id": 1, "file_name": "./a.jpg", "width": 80, "height": 60},
        {"id": 2, "file_name": "b.jpg", "width": 40, "height": 30},
        {"id": 2, "file_name": "b.jpg"},
    ]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 20, 20]} for n in (1, 2)]
    write(tmp_path / "i.json", {"images": images, "annotations": annotations, "categories": CATEGORIES})
    done = kit.bring("coco", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "i.json"),))
    assert list(done.records) == ["b.jpg"]
    assert done.reasons == [("ambiguous_id", "a.jpg")]
    assert done.statistics["told"] == {"images that a file lists twice": 2}


def test_boxes_that_leave_their_image_are_counted(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg", 1, width=40, height=30)
    boxes = [[30, 20, 39, 29], [10, 10, 30.5, 20.5], [-9, 0, 20, 20], [0, 0, 40, 30]]  # the first has its corners
    annotations = [{"id": n, "image_id": 1, "category_id": 1, "bbox": box} for n, box in enumerate(boxes)]
    images = [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}]
    write(tmp_path / "i.json", {"images": images, "annotations": annotations, "categories": CATEGORIES})
    done = kit.bring("coco", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "i.json"),))
    assert done.records["a.jpg"].regions[1].box_xyxy == (10, 10, 40, 30)
    assert done.statistics["told"] == {"boxes that leave their image, cut at its edge": 2}


def test_categories_of_one_name_are_counted(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg", 1)
    names = ["mouse", "Mouse ", "cat"]
    categories = [{"id": n, "name": name} for n, name in enumerate(names, 1)]
    images = [{"id": 10**25, "file_name": "a.jpg"}]
    annotations = [{"id": n, "image_id": 10**25, "category_id": n, "bbox": [1, 1, 9, 9]} for n in (1, 2, 3)]
    write(tmp_path / "i.json", {"images": images, "annotations": annotations, "categories": categories})
    done = kit.bring("coco", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "i.json"),))
    assert [tag.text for tag in done.records["a.jpg"].tags] == ["mouse (1)", "Mouse (2)", "cat"]
    assert done.statistics["told"] == {"categories of one name, with their ids behind it": 2}


def test_a_file_whose_images_have_no_ids_is_named_with_the_reason(kit, tmp_path):
    kit.photo(tmp_path / "in" / "a.jpg", 1)
    write(tmp_path / "i.json", {"images": [{"id": 1.5, "file_name": "a.jpg"}], "annotations": [], "categories": []})
    with pytest.raises(DataError, match=r"found none; the first problem: no_id \(a.jpg: .* expected an id"):
        kit.bring("coco", tmp_path / "in", tmp_path / "data", annotations=(str(tmp_path / "i.json"),))


@pytest.mark.parametrize("name", ["/etc/hostname", "../secret.png", "..", "a\x00.png"])
def test_panoptic_maps_lie_in_their_folder_and_nowhere_else(tmp_path, name):
    Image.new("RGB", (4, 3)).save(tmp_path / "secret.png")
    (tmp_path / "maps").mkdir()
    with pytest.raises(DataError, match="cannot be read|expected the name"):
        read_map(Folder(tmp_path / "maps"), name, [])


def test_a_map_that_is_none_is_told_alike_in_every_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"a.png: not a readable map \(UnidentifiedImageError: cannot identify image file\)"
    ):
        read_map(Folder(tmp_path), "a.png", [])
