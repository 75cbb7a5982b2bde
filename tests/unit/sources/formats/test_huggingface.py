"""Data sets that Hugging Face's `datasets` itself has written, in each layout, and what an import makes of them."""

import json
import shutil
from io import BytesIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from PIL import Image
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.places import place_at
from umgclip.sources.formats.huggingface import planning
from umgclip.sources.formats.huggingface.box_form import SizedBox, choose_form
from umgclip.sources.importing import parts

NAMES = ["cat", "traffic_light"]
BOX = [20.0, 10.0, 15.0, 18.0]
SQUARE = [[4.0, 4.0, 20.0, 4.0, 20.0, 20.0, 4.0, 20.0]]
datasets.disable_progress_bars()


def features(**more):
    objects = {
        "id": List(Value("int64")), "area": List(Value("int64")), "bbox": List(List(Value("float32"), length=4)),
        "category": List(ClassLabel(names=NAMES)),
    }  # fmt: skip
    return Features(
        {
            "image_id": Value("int64"), "image": datasets.Image(), "width": Value("int32"), "height": Value("int32"),
            "objects": objects, **more,
        }
    )  # fmt: skip


def row(kit, number, **more):
    objects = {"id": [number], "area": [270], "bbox": [BOX], "category": [number % 2]}
    image = {"bytes": kit.encoded(kit.pixels(number), "PNG"), "path": None}
    return {"image_id": number, "image": image, "width": 40, "height": 30, "objects": objects, **more}


def write_rows(path, rows, columns=None, **options):
    """Write a parquet file by `datasets` alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(rows, features=columns).to_parquet(path, **options)
    return path.parent


def nameless(done):
    """The records of an import without the names of their files, in order."""
    return [
        record.model_copy(update={"source": record.source.model_copy(update={"name": None})})
        for record in done.records.values()
    ]


@pytest.fixture
def cppe(kit):
    """The schema of cppe-5 and of the guides of `transformers`."""
    return Dataset.from_list([row(kit, number) for number in range(10)], features=features())


def test_parquet_and_save_to_disk_give_the_same_records(kit, cppe, tmp_path):
    cppe.to_parquet((tmp_path / "parquet").mkdir() or tmp_path / "parquet" / "train-00000-of-00001.parquet")
    cppe.save_to_disk(tmp_path / "one")
    DatasetDict({"train": cppe, "test": cppe.select(range(3))}).save_to_disk(tmp_path / "several")
    datasets.load_dataset("parquet", data_dir=str(tmp_path / "parquet"), cache_dir=str(tmp_path / "cache"))
    done = {
        name: kit.bring("huggingface", tmp_path / name, tmp_path / f"{name}-out")
        for name in ("parquet", "one", "several", "cache")
    }
    first = nameless(done["parquet"])
    assert len(first) == 10
    assert all(nameless(each) == first for each in done.values())
    (region,) = first[1].regions
    assert (region.id, region.box_xyxy, region.tags[0].text) == ("given-1", (20, 10, 35, 28), "traffic light")
    assert "files of other splits, which are not read (test)" in done["several"].statistics["told"]
    assert not any(each.quarantine for each in done.values())


def test_the_same_content_as_coco_gives_the_same_records(kit, tmp_path):
    images, annotations, captions, rows = [], [], [], []
    run_lengths = mask_ops.encode(kit.pixels(3)[..., 0] > 99).model_dump()
    run_lengths["size"] = list(run_lengths["size"])
    for number in range(4):
        data = kit.photo(tmp_path / "in" / f"{number}.jpg", number)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 40, "height": 30})
        shape = SQUARE if number % 2 else run_lengths
        listed = [
            {"id": 10 * number, "bbox": BOX, "category": 0, "iscrowd": 0, "segmentation": None},
            {
                "id": 10 * number + 1,
                "bbox": [4, 4, 16, 16],
                "category": 1,
                "iscrowd": 1,
                "segmentation": json.dumps(shape),
            },
        ]
        for one in listed:
            about = {**one, "image_id": number, "category_id": one["category"]}
            annotations.append({**about, "segmentation": shape if one["segmentation"] else []})
        texts = [f"photo of thing {number}", f"thing {number} again"]
        captions += [{"id": len(captions) + n, "image_id": number, "caption": text} for n, text in enumerate(texts)]
        rows.append({"image": {"bytes": data, "path": f"{number}.jpg"}, "objects": listed, "sentences": texts,
                     "width": 40, "height": 30})  # fmt: skip
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES)]
    for name, listed in (("instances", annotations), ("captions", captions)):
        content = {"images": images, "annotations": listed, "categories": categories}
        kit.write_text(tmp_path / f"{name}.json", json.dumps(content))
    fields = {
        "id": Value("int64"), "bbox": List(Value("float64"), length=4), "category": ClassLabel(names=NAMES),
        "iscrowd": Value("bool"), "segmentation": Value("string"),
    }  # fmt: skip
    columns = Features({"image": datasets.Image(), "objects": List(fields), "sentences": List(Value("string")),
                        "width": Value("int32"), "height": Value("int32")})  # fmt: skip
    write_rows(tmp_path / "hf" / "train.parquet", rows, columns)
    for split in ("train", "benchmark"):
        coco = kit.bring("coco", tmp_path / "in", tmp_path / "a", split, captions=str(tmp_path / "captions.json"),
                         annotations=(str(tmp_path / "instances.json"),))  # fmt: skip
        ours = kit.bring("huggingface", tmp_path / "hf", tmp_path / "b", split)
        assert nameless(ours) == nameless(coco)
        assert ours.manifest.classes == coco.manifest.classes
        assert ours.quarantine == coco.quarantine == []


OBJECTS = {
    "a struct of lists": {"objects": {"bbox": [BOX], "label": ["cat"]}},
    "a list of structs": {"annotations": [{"bbox": BOX, "category_name": "cat"}]},
    "columns": {"bboxes": [BOX], "categories": ["cat"]},
    "boxes that say their order": {"objects": [{"bbox_xyxy": [20.0, 10.0, 35.0, 28.0], "category": "cat"}]},
    "centres that say their order": {"objects": [{"box_cxcywh": [27.5, 19.0, 15.0, 18.0], "name": "cat"}]},
}


@pytest.mark.parametrize("form", OBJECTS)
def test_objects_of_the_usual_schemas(kit, tmp_path, form):
    image = {"bytes": kit.encoded(kit.pixels()), "path": None}
    write_rows(tmp_path / "in" / "a.parquet", [{"image": image, **OBJECTS[form]}])
    (record,) = kit.bring("huggingface", tmp_path / "in", tmp_path / "out").records.values()
    (region,) = record.regions
    assert (region.box_xyxy, region.tags[0].text) == ((20, 10, 35, 28), "cat")
    assert record.captions is None


def test_masks_phrases_and_scores_of_objects(kit, tmp_path):
    mask = kit.pixels(3)[..., 0] > 99
    picture = {"bytes": kit.encoded(mask.astype("uint8") * 255, "PNG"), "path": None}
    objects = [
        {"bbox": BOX, "category": None, "mask": picture, "caption": "a red thing", "score": 0.5},
        {"bbox": BOX, "category": -1, "mask": None, "caption": None, "score": None},
        {"bbox": [1.0, None, 2.0, 3.0], "category": 1, "mask": None, "caption": "too", "score": float("nan")},
    ]
    fields = {"bbox": List(Value("float64")), "category": ClassLabel(names=NAMES), "mask": datasets.Image(),
              "caption": Value("string"), "score": Value("float64")}  # fmt: skip
    columns = Features({"image": datasets.Image(), "objects": List(fields)})
    data = {"bytes": kit.encoded(kit.pixels()), "path": None}
    write_rows(tmp_path / "in" / "a.parquet", [{"image": data, "objects": objects}], columns)
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out", declared_boxes="xywh")
    (record,) = done.records.values()
    first, second = record.regions
    assert (first.captions[0].text, first.score, first.tags) == ("a red thing", 0.5, [])
    assert mask_ops.area(first.mask) == mask.sum()
    assert (second.tags, second.captions, second.mask) == ([], [], None)
    assert [reason for reason, _ in done.reasons] == ["bad_box"]


FORMS = {
    "corner and size": ([BOX, [0, 0, 40, 30]], None, ("xywh", False)),
    "corners that are declared": ([[20, 10, 35, 28], [0, 0, 40, 30]], "xyxy", ("xyxy", False)),
    "corners": ([[20, 10, 35, 28], [5, 25, 39, 29]], None, "as two corners .* they fit: --box-format xyxy"),
    "sizes that are declared corners": ([[20, 10, 15, 8], [30, 20, 9, 9]], "xyxy", "--box-format xywh"),
    "centres": ([[35, 25, 10, 10], [36, 26, 8, 8]], None, "--box-format cxcywh"),
    "shares": ([[0.5, 0.5, 0.2, 0.2]], None, r"shares of the image.*--box-format .* \(these fit: xywh, cxcywh\)"),
    "shares that are declared": ([[0.5, 0.5, 0.2, 0.2]], "cxcywh", ("cxcywh", True)),
    "another image's": ([[200, 100, 80, 80]], None, "no other order fits"),
    "none": ([], None, ("xywh", False)),
}


@pytest.mark.parametrize("name", FORMS)
def test_boxes_are_read_in_their_order_or_refused(name):
    numbers, declared, expected = FORMS[name]
    boxes = [SizedBox(tuple(map(float, box)), (40, 30)) for box in numbers]
    if isinstance(expected, tuple):
        read = choose_form(boxes, declared, "objects.bbox")
        assert (read.form, read.shares) == expected
    else:
        with pytest.raises(InputError, match=rf"objects\.bbox: .*{expected}"):
            choose_form(boxes, declared, "objects.bbox")


def test_corners_in_cocos_place_stop_the_import(kit, tmp_path):
    objects = {"bbox": [[20.0, 10.0, 35.0, 28.0]], "category": ["cat"]}
    image = {"bytes": kit.encoded(kit.pixels()), "path": None}
    write_rows(tmp_path / "in" / "a.parquet", [{"image": image, "objects": objects}])
    with pytest.raises(InputError, match=r"objects\.bbox: read as corner and size .* --box-format xyxy"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out", declared_boxes="xyxy")
    assert next(iter(done.records.values())).regions[0].box_xyxy == (20, 10, 35, 28)


CAPTIONS = {
    "a text": ({"text": "a photo"}, ["a photo"]),
    "a list": ({"caption": ["a photo", "another"]}, ["a photo", "another"]),
    "several columns": ({"caption": "a photo", "long_caption": "another"}, ["a photo", "another"]),
    "structs": ({"sentences": [{"raw": "a photo", "tokens": ["a"]}]}, ["a photo"]),
    "null": ({"caption": None}, []),
}


@pytest.mark.parametrize("form", CAPTIONS)
def test_captions(kit, tmp_path, form):
    content, expected = CAPTIONS[form]
    image = {"bytes": kit.encoded(kit.pixels()), "path": None}
    filled = {
        "image": {"bytes": kit.encoded(kit.pixels(1)), "path": None},
        **{name: value or "a text" for name, value in content.items()},
    }
    write_rows(tmp_path / "in" / "a.parquet", [{"image": image, **content}, filled])
    record = next(iter(kit.bring("huggingface", tmp_path / "in", tmp_path / "out").records.values()))
    assert [text.text for text in record.captions] == expected
    assert (record.tags, record.regions) == (None, None)


def test_classes_of_single_objects_in_a_benchmark(kit, tmp_path):
    columns = Features({"img": datasets.Image(), "fine_label": ClassLabel(names=["grey_fox", "dog"])})
    rows = [
        {"img": {"bytes": kit.encoded(kit.pixels(n)), "path": None}, "fine_label": n % 2 if n < 3 else None}
        for n in range(4)
    ]
    write_rows(tmp_path / "in" / "data" / "test-0.parquet", rows, columns)
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out", "benchmark")
    assert done.manifest.classes.things == ["grey fox", "dog"]
    assert [record.tags and record.tags[0].text for record in done.records.values()] == [
        "grey fox",
        "dog",
        "grey fox",
        None,
    ]
    assert [record.source.dataset for record in done.records.values()] == ["test/singles"] * 3 + ["test/benchmark"]


def test_columns_that_could_be_meant_are_asked_for(kit, tmp_path):
    image = {"bytes": kit.encoded(kit.pixels()), "path": None}
    columns = Features({"left": datasets.Image(), "right": datasets.Image(), "a": ClassLabel(names=["x"]),
                        "b": ClassLabel(names=["y"])})  # fmt: skip
    write_rows(tmp_path / "in" / "a.parquet", [{"left": image, "right": image, "a": 0, "b": 0}], columns)
    with pytest.raises(InputError, match="one column of images, got left, right; --image-column names one"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match="--image-column: expected one of the columns left, right, a, b, got 'image'"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out", image_column="image")
    with pytest.raises(InputError, match="one column of classes, got a, b; --label-column names one, or none"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out", image_column="left")
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out", image_column="left", label_column="b")
    assert [record.tags[0].text for record in done.records.values()] == ["y"]
    assert done.statistics["told"] == {"columns that are not read (a)": 1, "columns that are not read (right)": 1}


def test_addresses_are_refused_with_the_way_to_download_them(kit, tmp_path):
    rows = [{"url": f"https://example.com/{n}.jpg", "caption": "a photo"} for n in range(3)]
    write_rows(tmp_path / "in" / "a.parquet", rows)
    with pytest.raises(
        InputError, match="expected images, got their addresses in 'url'; download them with img2dataset"
    ):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    write_rows(tmp_path / "in" / "a.parquet", [{"image": each["url"]} for each in rows])
    with pytest.raises(InputError, match="in 'image', got addresses; download them with img2dataset"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out")


def test_rows_whose_images_are_files_or_are_missing(kit, tmp_path):
    kit.photo(tmp_path / "in" / "images" / "é.jpg", 1)
    values = [
        {"bytes": None, "path": "/home/somebody/images/é.jpg"}, {"bytes": None, "path": "images/none.jpg"},
        {"bytes": None, "path": None}, None, {"bytes": b"", "path": "a.jpg"},
        {"bytes": kit.encoded(kit.pixels())[:90], "path": None},
        {"bytes": None, "path": "../../../etc/passwd"},
    ]  # fmt: skip
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"image": pa.array(values, kind)}), tmp_path / "in" / "a.parquet")
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    assert list(done.records) == ["a.parquet:0:é.jpg"]
    assert [reason for reason, _ in done.reasons] == [
        "empty",
        "no_image",
        "no_image",
        "no_image",
        "no_image",
        "truncated",
    ]
    assert len({row["shard"] for row in done.quarantine}) == 6


def test_images_of_other_kinds_are_stored_as_everywhere(kit, tmp_path):
    buffer = BytesIO()
    Image.fromarray(kit.pixels(1)).convert("CMYK").save(buffer, "JPEG")
    values = [buffer.getvalue(), kit.encoded(kit.pixels(2), "PNG")]
    pq.write_table(
        pa.table({"image": pa.array(values, pa.binary())}), (tmp_path / "in").mkdir() or tmp_path / "in" / "a.parquet"
    )
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    first, second = done.images.values()
    assert Image.open(BytesIO(first)).mode == "RGB"
    assert second == values[1]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_folder_of_images_with_metadata(kit, tmp_path, form):
    rows = []
    for number in range(4):
        kit.photo(tmp_path / "in" / "train" / f"a {number}.jpg", number)
        rows.append({"file_name": f"a {number}.jpg", "text": f"photo number {number}"})
    rows.append({"file_name": "none.jpg", "text": "nothing"})
    kit.photo(tmp_path / "in" / "test" / "b.jpg", 9)
    if form != "csv":
        for each in rows:
            each["objects"] = {"bbox": [BOX], "categories": ["cat"]}
    path = tmp_path / "in" / "train" / f"metadata.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form == "jsonl":
        kit.write_text(path, *map(json.dumps, rows), "no JSON")
    else:
        kit.write_text(path, "file_name,text", *(f'{r["file_name"]},"{r["text"]}"' for r in rows), "one cell")
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    assert [record.captions[0].text for record in done.records.values()] == [f"photo number {n}" for n in range(4)]
    assert done.reasons[-1] == ("no_image", "train/none.jpg")
    assert ("bad_row" in dict(done.reasons)) == (form != "parquet")
    if form != "csv":
        assert done.records["train/a 0.jpg"].regions[0].box_xyxy == (20, 10, 35, 28)


def test_a_folder_for_each_class(kit, tmp_path):
    for number, name in enumerate(("test/grey_fox/1.jpg", "test/dog/2.jpg", "train/dog/3.jpg")):
        kit.photo(tmp_path / "in" / name, number)
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out", "benchmark")
    assert {name: record.tags[0].text for name, record in done.records.items()} == {
        "test/dog/2.jpg": "dog", "test/grey_fox/1.jpg": "grey fox",
    }  # fmt: skip


CARD = """---
configs:
- config_name: {}
  data_files:
  - split: train
    path: {}/part-*
- config_name: other
  data_files: other/*.parquet
dataset_info:
- config_name: mine
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': cat
          '1': dog
---
# Photos
"""


def test_the_card_says_configurations_splits_and_names_of_classes(kit, tmp_path):
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for number, folder in enumerate(("mine", "other")):
        images = [{"bytes": kit.encoded(kit.pixels(number)), "path": None}]
        (tmp_path / "in" / folder).mkdir(parents=True)
        table = pa.table({"image": pa.array(images, kind), "label": pa.array([number])})
        pq.write_table(table, tmp_path / "in" / folder / "part-0.parquet")
    kit.write_text(tmp_path / "in" / "README.md", CARD.format("mine", "mine"))
    with pytest.raises(InputError, match="expected one configuration, got mine, other; --config names one"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match="--config: expected one of mine, other, got 'some'"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out", config="some")
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out", config="mine")
    assert [record.tags[0].text for record in done.records.values()] == ["cat"]
    assert list(done.records) == ["mine/part-0.parquet:0"]


def test_files_with_other_columns_are_refused(kit, cppe, tmp_path):
    write_rows(tmp_path / "in" / "a.parquet", [row(kit, 1)], features())
    other = features()
    other["objects"]["category"] = List(ClassLabel(names=["dog"]))
    write_rows(tmp_path / "in" / "b.parquet", [row(kit, 0)], other)
    with pytest.raises(InputError, match=r"b\.parquet: expected 'objects' as in a\.parquet, got another type or other"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out", files=("a.parquet",))
    assert len(done.records) == 1


def test_lists_that_do_not_fit_cost_the_objects_and_not_the_image(kit, tmp_path):
    broken = row(kit, 1) | {"objects": {"id": [1], "area": [1], "bbox": [BOX, BOX], "category": [0]}}
    write_rows(tmp_path / "in" / "a.parquet", [row(kit, 0), broken], features())
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    assert len(done.records) == 2
    (problem,) = done.quarantine
    assert problem["reason"] == "bad_region"
    assert problem["detail"] == "objects: expected lists of one length, got bbox 2, category 1, id 1"


def test_numbers_without_names_need_a_file(kit, tmp_path):
    objects = {"bbox": [BOX], "category": [1]}
    write_rows(
        tmp_path / "in" / "a.parquet",
        [{"image": {"bytes": kit.encoded(kit.pixels()), "path": None}, "objects": objects}],
    )
    with pytest.raises(InputError, match=r"objects\.category holds numbers without names, such as 1; --class-names"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    names = kit.write_text(tmp_path / "names.txt", "cat", "dog")
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out", class_names=str(names))
    assert next(iter(done.records.values())).tags[0].text == "dog"


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("whole", [False, True])
def test_chunks_of_any_size_are_read_in_parts(kit, cppe, tmp_path, monkeypatch, form, whole):
    if form == "parquet":
        cppe.to_parquet((tmp_path / "in").mkdir() or tmp_path / "in" / "a.parquet", batch_size=7)
    else:
        cppe.save_to_disk(tmp_path / "in")
    monkeypatch.setattr(planning, "_WHOLE", 6 if whole else 100)
    done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    assert [record.regions[0].id for record in done.records.values()] == [f"given-{n}" for n in range(10)]


def test_an_import_goes_on_where_it_was_stopped(kit, cppe, tmp_path, monkeypatch):
    cppe.save_to_disk(tmp_path / "in")
    real, done = parts.do_part, []

    def stop(context, part, *others):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part)
        real(context, part, *others)

    with monkeypatch.context() as stopped:
        stopped.setattr(parts, "do_part", stop)
        with pytest.raises(KeyboardInterrupt):
            kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    resumed = kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    fresh = kit.bring("huggingface", tmp_path / "in", tmp_path / "fresh")
    assert resumed.resumed == 2
    assert kit.tree(tmp_path / "out") == kit.tree(tmp_path / "fresh")
    assert fresh.resumed == 0


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_from_s3(kit, cppe, tmp_path, s3, form):
    if form == "parquet":
        cppe.to_parquet((tmp_path / "in").mkdir() or tmp_path / "in" / "a.parquet")
    else:
        cppe.save_to_disk(tmp_path / "in")
    here = kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
    there = place_at("s3://bucket/in")
    for path in (tmp_path / "in").iterdir():
        there.put(path, path.name)
    far = kit.bring("huggingface", "s3://bucket/in", tmp_path / "far")
    assert list(far.records.items()) == list(here.records.items())


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_file_that_is_cut_off(kit, cppe, tmp_path, form):
    if form == "parquet":
        cppe.to_parquet((tmp_path / "in").mkdir() or tmp_path / "in" / "a.parquet")
        shutil.copy(tmp_path / "in" / "a.parquet", tmp_path / "in" / "b.parquet")
        damaged = tmp_path / "in" / "b.parquet"
    else:
        cppe.save_to_disk(tmp_path / "in")
        damaged = next((tmp_path / "in").glob("*.arrow"))
    damaged.write_bytes(damaged.read_bytes()[:-900])
    if form == "parquet":
        done = kit.bring("huggingface", tmp_path / "in", tmp_path / "out")
        assert (len(done.records), done.reasons) == (10, [("unreadable", "b.parquet")])
    else:
        with pytest.raises(DataError, match=r"expected images for huggingface.*the first problem: truncated"):
            kit.bring("huggingface", tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.tar", "data import webdataset"),
        ("a.jsonl", "data import folder --captions"),
        ("a.zip", "unpack"),
        ("a.py", "script"),
    ],
)
def test_other_sources_are_refused_with_advice(kit, tmp_path, name, advice):
    kit.write_text(tmp_path / "in" / name, "x")
    with pytest.raises(DataError, match=rf"expected parquet, arrow or image files, got {name}; .*{advice}"):
        kit.bring("huggingface", tmp_path / "in", tmp_path / "out")


def test_the_command_takes_a_folder_or_files(kit, cppe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kit.write_text(tmp_path / "params.yaml", "data: {imports: {workers: 1}}")
    for name in ("a", "b"):
        cppe.to_parquet((tmp_path / "in").mkdir(exist_ok=True) or tmp_path / "in" / f"{name}.parquet")
    done = CliRunner().invoke(app, ["data", "import", "huggingface", "in/a.parquet", "--annotator", "me"])
    assert done.exit_code == 0, done.output
    assert "10 in" in done.stdout
    again = CliRunner().invoke(app, ["data", "import", "huggingface", "in/a.parquet", "in/b.parquet", "--replace"])
    assert again.exit_code == 0, again.output
    assert "20 in" in again.stdout
    wrong = CliRunner().invoke(app, ["data", "import", "huggingface", "in", "in/b.parquet"])
    assert "expected one folder, or .parquet and .arrow files in one" in str(wrong.exception)
