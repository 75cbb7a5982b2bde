"""FG-OVD's JSON and FG-CLIP's JSON lines: the same boxes with their texts."""

import json

import pytest

from umgclip.errors import DataError, InputError

TEXTS = {7: "A red wooden chair.", 8: "A blue wooden chair.", 9: "A red  metal chair.", 12: "A dog."}


@pytest.fixture
def source(kit, tmp_path):
    """Two images of COCO with three boxes, in FG-OVD's grammar: categories come last."""
    for number in (1, 2):
        kit.photo(tmp_path / "coco" / "val2017" / f"{number:012d}.jpg", number)
    images = [
        {"id": number, "file_name": f"val2017/{number:012d}.jpg", "width": 40, "height": 30, "license": 1,
         "coco_url": f"http://images.cocodataset.org/val2017/{number:012d}.jpg", "neg_category_ids": [8]}
        for number in (1, 2)
    ]  # fmt: skip
    boxes = [
        {"id": 1, "image_id": 1, "bbox": [4, 5, 10.5, 20], "category_id": 7, "neg_category_ids": [8, 9, 8]},
        {"id": 2, "image_id": 1, "bbox": [0, 0, 8, 8], "category_id": 12, "neg_category_ids": [7],
         "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]},
        {"id": 3, "image_id": 2, "bbox": [1, 1, 5, 5], "category_id": 7, "neg_category_ids": [8]},
    ]  # fmt: skip
    write(tmp_path, images, boxes)
    return tmp_path


def write(folder, images, boxes):
    categories = [{"id": number, "name": name, "frequency": "f"} for number, name in TEXTS.items()]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "1_attributes.json").write_text(json.dumps(content))


def bring(kit, source, split="benchmark", file="1_attributes.json", **options):
    return kit.bring("fg_ovd", source / "coco", source / split, split, annotations=(str(source / file),), **options)


def test_a_box_has_its_true_text_and_the_others(kit, source):
    done = bring(kit, source)
    assert done.reasons == []
    record = done.records["val2017/000000000001.jpg"]
    chair, dog = record.regions
    assert (chair.box_xyxy, dog.box_xyxy) == ((4, 5, 14.5, 25), (0, 0, 8, 8))
    assert [text.text for text in chair.captions] == ["A red wooden chair."]
    # a repeat stays: it is one of the texts that the box is asked against
    assert [text.text for text in chair.negatives] == [TEXTS[8], "A red metal chair.", TEXTS[8]]
    assert {text.source for text in (*chair.captions, *chair.negatives)} == {"human"}
    assert (chair.tags, chair.mask, dog.mask is None) == ([], None, False)
    assert (record.tags, record.negative_tags, done.manifest.classes) == (None, None, None)
    assert record.source.url.endswith("val2017/000000000001.jpg")
    assert set(kit.measure(source / "benchmark" / "benchmark")) == {"fine_grained"}


def test_the_lines_that_fg_clip_reads_say_the_same(kit, source):
    lines = [
        {"img_path": "val2017/000000000001.jpg", "bbox": [4, 5, 10.5, 20], "pos_expression": [TEXTS[7]],
         "neg_expression": [TEXTS[8], TEXTS[9], TEXTS[8]], "width": 40, "height": 30, "sent_id": 0},
        {"img_path": "val2017/000000000002.jpg", "bbox": [1, 1, 5, 5], "pos_expression": [TEXTS[7]],
         "neg_expression": [TEXTS[8]], "width": 40, "height": 30, "sent_id": 2},
        {"img_path": "val2017/000000000001.jpg", "bbox": [0, 0, 8, 8], "pos_expression": [TEXTS[12]],
         "neg_expression": [TEXTS[7]], "width": 40, "height": 30, "sent_id": 1},
    ]  # fmt: skip
    (source / "h_attributes_llava.jsonl").write_text("\n".join(map(json.dumps, lines)))
    theirs = bring(kit, source, "train", "h_attributes_llava.jsonl", annotator="human").records
    ours = bring(kit, source).records
    assert list(theirs) == list(ours)
    for name, record in ours.items():
        stated = [
            [(r.box_xyxy, [t.text for t in r.captions], [t.text for t in r.negatives]) for r in one.regions]
            for one in (record, theirs[name])
        ]
        assert stated[0] == stated[1]


def test_texts_of_training_are_not_those_of_humans(kit, source):
    record = bring(kit, source, "train").records["val2017/000000000002.jpg"]
    assert {text.source for text in (*record.regions[0].captions, *record.regions[0].negatives)} == {"fg_ovd"}


def test_images_may_lie_in_one_folder(kit, source):
    for path in list((source / "coco").rglob("*.jpg")):
        path.rename(source / "coco" / path.name)
    assert len(bring(kit, source).records) == 2


def test_what_makes_no_sense_costs_only_itself(kit, source):
    content = json.loads((source / "1_attributes.json").read_text())
    boxes = content["annotations"]
    boxes[0]["neg_category_ids"] = [8, 99]  # no such text
    boxes[1]["bbox"] = [3, 3, 0, 4]
    boxes[1].pop("segmentation")
    boxes.append({"id": 4, "image_id": 2, "bbox": [1, 1, 5, 5], "category_id": 8, "neg_category_ids": []})
    boxes.append({"id": 5, "image_id": 77, "bbox": [1, 1, 5, 5], "category_id": 8, "neg_category_ids": [7]})
    write(source, [*content["images"], {"id": 3}], boxes)
    done = bring(kit, source)
    assert sorted(reason for reason, _ in done.reasons) == ["bad_box", "bad_text", "bad_text", "no_image", "no_image"]
    assert [len(record.regions) for record in done.records.values()] == [0, 1]


def test_a_second_image_with_an_id_is_a_problem(kit, source):
    content = json.loads((source / "1_attributes.json").read_text())
    write(source, [*content["images"], {"id": 1, "file_name": "val2017/000000000002.jpg"}], content["annotations"])
    done = bring(kit, source)
    assert [reason for reason, _ in done.reasons] == ["duplicate_id"]
    assert [len(record.regions) for record in done.records.values()] == [2, 1]


def test_what_is_missing_is_named(kit, source):
    with pytest.raises(DataError, match=r"nothing\.json: expected boxes with a true text .*lorebianchi98/FG-OVD"):
        bring(kit, source, file="nothing.json")
    (source / "other.json").write_text('{"info": {"a": 1}}')
    with pytest.raises(DataError, match=r"other\.json: expected images with boxes and texts"):
        bring(kit, source, file="other.json")
    with pytest.raises(InputError, match=r"fg-ovd: expected --annotations"):
        kit.bring("fg_ovd", source / "coco", source / "data", "benchmark")


@pytest.mark.parametrize("absolute", [False, True])
def test_a_path_that_leaves_the_source_is_not_read(kit, source, absolute):
    kit.photo(source / "private.jpg", 3)
    name = str(source / "private.jpg") if absolute else "../private.jpg"
    content = json.loads((source / "1_attributes.json").read_text())
    content["images"][0]["file_name"] = name
    write(source, content["images"], content["annotations"])
    done = bring(kit, source)
    assert list(done.records) == ["val2017/000000000002.jpg"]
    assert done.reasons == [("no_image", name)]
