"""Folders of image files: captions from files beside them and from tables, classes from folders."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umgclip.errors import DataError, InputError
from umgclip.evaluate.examples import open_benchmark, read_examples
from umgclip.io.manifest import read_manifest
from umgclip.records import shows_one_object


def texts(texts_or_none):
    return [(text.text, text.source) for text in texts_or_none or []]


def test_captions_beside_the_images(kit, photos, tmp_path):
    done = kit.bring("folder", photos, tmp_path / "data", license="CC0")
    assert len(done.records) == 10
    record = done.records["a/4.jpg"]
    assert texts(record.captions) == [("photo number 4", "alt")]
    assert (record.tags, record.regions) == (None, None)
    assert (record.source.dataset, record.source.license) == ("test/train", "CC0")
    assert done.images["a/4.jpg"] == (photos / "a" / "4.jpg").read_bytes()
    assert done.quarantine == []
    assert read_manifest(tmp_path / "data" / "train").made_by.stage == "import"


def test_files_beside_the_images_may_say_more(kit, tmp_path):
    source = tmp_path / "in"
    kit.photo(source / "x.22.05.jpg", 1)
    (source / "x.22.05.jpg.txt").write_text("first line\n\n  second   line \n", encoding="utf-8-sig")
    about = {"caption": "from json", "tags": ["Kitchen", "cup"], "objects": [{"bbox": [1, 2, 21, 12], "label": "cup"}]}
    (source / "x.22.05.json").write_text(json.dumps(about | {"mood": "calm"}))
    done = kit.bring("folder", source, tmp_path / "data")
    record = done.records["x.22.05.jpg"]
    assert texts(record.captions) == [("first line", "alt"), ("second line", "alt"), ("from json", "alt")] or texts(
        record.captions
    ) == [("from json", "alt"), ("first line", "alt"), ("second line", "alt")]
    assert texts(record.tags) == [("Kitchen", "human"), ("cup", "human")]
    assert record.regions[0].box_xyxy == (1, 2, 21, 12)
    assert texts(record.regions[0].tags) == [("cup", "human")]
    assert done.statistics["not_understood"] == {"mood": 1}


@pytest.mark.parametrize("form", ["csv", "semicolon", "tsv", "parquet", "json", "jsonl"])
def test_captions_in_a_table(kit, photos, tmp_path, form):
    for path in photos.rglob("*.txt"):
        path.unlink()
    rows = [("a/0.jpg", "zero, the first"), ("./b/1.jpg", "one"), ("2.jpg", "by its name"), ("a/0.jpg", "again")]
    rows += [("a/4", "without extension"), ("nothing.jpg", "of no image")]
    table = tmp_path / f"captions.{ {'semicolon': 'csv'}.get(form, form) }"
    if form in ("csv", "semicolon", "tsv"):
        mark = {"csv": ",", "semicolon": ";", "tsv": "\t"}[form]
        lines = [f"id{mark}file_name{mark}caption", *(f'7{mark}{n}{mark}"{c}"' for n, c in rows)]
        table.write_text("\n".join(lines), encoding="utf-8-sig")
    elif form == "parquet":
        pq.write_table(pa.table({"file_name": [n for n, _ in rows], "caption": [c for _, c in rows]}), table)
    else:
        objects = [{"file_name": n, "caption": c} for n, c in rows]
        table.write_text(json.dumps(objects) if form == "json" else "\n".join(map(json.dumps, objects)))
    done = kit.bring("folder", photos, tmp_path / "data", captions=str(table))
    texts_of = {name: [text.text for text in record.captions or []] for name, record in done.records.items()}
    assert texts_of["a/0.jpg"] == ["zero, the first", "again"]
    assert (texts_of["b/1.jpg"], texts_of["a/2.jpg"], texts_of["a/4.jpg"]) == (
        ["one"],
        ["by its name"],
        ["without extension"],
    )
    assert texts_of["a/6.jpg"] == []
    assert done.reasons == [("no_image", "nothing.jpg")]


def test_a_name_that_several_images_have_is_not_guessed(kit, tmp_path):
    for number, folder in enumerate("ab"):
        kit.photo(tmp_path / "in" / folder / "1.jpg", number)
    (tmp_path / "c.csv").write_text("image,caption\n1.jpg,which one?\nb/1.jpg,this one\n")
    done = kit.bring("folder", tmp_path / "in", tmp_path / "data", captions=str(tmp_path / "c.csv"))
    assert done.reasons == [("ambiguous_name", "1.jpg")]
    assert texts(done.records["b/1.jpg"].captions) == [("this one", "alt")]


def test_columns_may_be_named_and_are_said_when_missing(kit, photos, tmp_path):
    table = tmp_path / "c.csv"
    table.write_text("Bild,Titel\na/0.jpg,null\n")
    with pytest.raises(InputError, match=r"expected a column such as file_name.* got \['Bild', 'Titel'\]"):
        kit.bring("folder", photos, tmp_path / "data", captions=str(table))
    with pytest.raises(InputError, match="caption_column: expected one of Bild, Titel, got 'Text'"):
        kit.bring("folder", photos, tmp_path / "data", captions=str(table), image_column="Bild", caption_column="Text")
    done = kit.bring(
        "folder", photos, tmp_path / "data", captions=str(table), image_column="Bild", caption_column="Titel"
    )
    assert ("null", "alt") in texts(done.records["a/0.jpg"].captions)


def test_names_of_any_letters_find_their_captions(kit, tmp_path):
    source = tmp_path / "in"
    decomposed, japanese = "cafe\u0301.jpg", "写真 (1).jpg"
    kit.photo(source / decomposed, 1)
    kit.photo(source / japanese, 2)
    (tmp_path / "c.csv").write_text(f"file,caption\ncaf\u00e9.jpg,composed\n{japanese},japanese\n", encoding="utf-8")
    done = kit.bring("folder", source, tmp_path / "data", captions=str(tmp_path / "c.csv"))
    assert texts(done.records[decomposed].captions) == [("composed", "alt")]
    assert texts(done.records[japanese].captions) == [("japanese", "alt")]


def test_a_name_that_is_no_text_is_imported(kit, tmp_path):
    data = kit.photo(tmp_path / "in" / "x.jpg")
    (tmp_path / "in" / "x.jpg").rename(tmp_path / "in" / os.fsdecode(b"caf\xe9.jpg"))
    done = kit.bring("folder", tmp_path / "in", tmp_path / "data")
    assert done.images == {"caf\\xe9.jpg": data}


def test_a_broken_file_beside_an_image_costs_only_itself(kit, photos, tmp_path):
    (photos / "a" / "0.json").write_text('{"caption": "cut')
    (photos / "a" / "2.txt").write_bytes(b"caf\xe9")
    done = kit.bring("folder", photos, tmp_path / "data")
    assert done.reasons == [("bad_text", "a/0.jpg"), ("bad_text", "a/2.jpg")]
    assert texts(done.records["a/0.jpg"].captions) == [("photo number 0", "alt")]


def test_bad_images_are_counted_with_their_reasons(kit, photos, tmp_path):
    (photos / "zero.jpg").write_bytes(b"")
    (photos / "page.jpg").write_bytes(b"<html></html>")
    (photos / "half.png").write_bytes(kit.encoded(kit.pixels(3), "PNG")[:200])
    (photos / "other.jpg").write_bytes(kit.encoded(kit.pixels(4), "PNG"))
    (photos / "large.png").write_bytes(kit.encoded(kit.pixels(5, 200, 200), "PNG"))
    (photos / "long.png").write_bytes(kit.encoded(kit.pixels(6), "PNG") + bytes(1_100_000))
    (photos / ".hidden.jpg").write_bytes(b"")
    (photos / "notes.pdf").write_bytes(b"")
    params = kit.PARAMS.model_copy(update={"max_pixels": 30_000, "max_image_mb": 1})
    done = kit.bring("folder", photos, tmp_path / "data", params=params)
    assert done.reasons == [
        ("empty", "zero.jpg"), ("mislabelled", "other.jpg"), ("mislabelled", "page.jpg"), ("too_large", "large.png"),
        ("too_large", "long.png"), ("truncated", "half.png"),
    ]  # fmt: skip
    assert len(done.records) == 10
    assert done.statistics["quarantine"] == {"empty": 1, "mislabelled": 2, "too_large": 2, "truncated": 1}
    assert done.statistics["other_files"] == {".pdf": 1}
    imported = kit.bring("folder", photos, tmp_path / "kept", params=params.model_copy(update={"mislabelled": "keep"}))
    assert "other.jpg" in imported.records


def test_a_folder_a_class_is_a_classification_benchmark(kit, tmp_path):
    source = tmp_path / "in"
    for number, name in enumerate(["tabby_cat", "fox", "fox", "zebra"]):
        kit.photo(source / name / f"{number}.jpg", number, orientation=6 if number == 1 else 1)
    kit.photo(source / "loose.jpg", 9)
    done = kit.bring("folder", source, tmp_path / "data", "benchmark", labels="folders", held_out=("fox",))
    assert done.manifest.classes.model_dump() == {
        "things": ["fox", "tabby cat", "zebra"], "stuff": [], "held_out": ["fox"]
    }  # fmt: skip
    record = done.records["tabby_cat/0.jpg"]
    assert shows_one_object(record)
    assert record.source.dataset == "test/singles"
    assert done.reasons == [("no_class", "loose.jpg")]
    _, classes = open_benchmark(tmp_path / "data" / "benchmark")
    examples = list(read_examples(tmp_path / "data" / "benchmark", classes))
    assert all(example.single for example in examples if example.tags)
    labels = [classes.names[example.tags[0]] for example in examples if example.single]
    assert sorted(labels) == ["fox", "fox", "tabby cat", "zebra"]


def test_folders_may_have_names_for_their_classes(kit, tmp_path):
    kit.photo(tmp_path / "in" / "n01440764" / "0.jpg")
    (tmp_path / "names.json").write_text('{"n01440764": "tench"}')
    done = kit.bring(
        "folder", tmp_path / "in", tmp_path / "data", labels="folders", class_names=str(tmp_path / "names.json")
    )
    (record,) = done.records.values()
    assert texts(record.tags) == [("tench", "human")]
    assert record.regions is None  # in training, a label of the image and no more
    assert record.source.dataset == "test/train"


def test_captions_alone_are_a_retrieval_benchmark(kit, photos, tmp_path):
    done = kit.bring("folder", photos, tmp_path / "data", "benchmark")
    assert done.manifest.classes is None
    assert texts(done.records["a/0.jpg"].captions) == [("photo number 0", "human")]


def test_held_out_names_must_be_classes(kit, tmp_path):
    kit.photo(tmp_path / "in" / "fox" / "0.jpg")
    with pytest.raises(InputError, match=r"held_out: expected names of classes \(fox, \.\.\.\), got \['yak'\]"):
        kit.bring("folder", tmp_path / "in", tmp_path / "data", "benchmark", labels="folders", held_out=("yak",))


def test_nothing_to_import_is_said(kit, tmp_path):
    with pytest.raises(DataError, match="expected a folder, found none"):
        kit.bring("folder", tmp_path / "none", tmp_path / "data")
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="expected images for folder, found no files at all"):
        kit.bring("folder", tmp_path / "in", tmp_path / "data")
    (tmp_path / "in" / "a.pdf").write_bytes(b"")
    with pytest.raises(DataError, match=r"found 1 \.pdf"):
        kit.bring("folder", tmp_path / "in", tmp_path / "data")
    (tmp_path / "in" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="expected images to import, could import none: 1 empty"):
        kit.bring("folder", tmp_path / "in", tmp_path / "data")


def test_umg41m_is_read_tolerantly(kit, tmp_path):
    source = tmp_path / "in"
    kit.photo(source / "000.jpg", 0, width=100, height=50)
    about = {
        "image_caption": ["a dog on grass", "a brown dog"],
        "tags": "dog|grass",
        "foreground": [
            {"bbox": [10, 5, 60, 45], "tag": "dog", "caption": "a brown dog", "score": 0.9},
            {"box": {"x": 1, "y": 2, "w": 3, "h": 4}, "tags": ["leaf"], "depth": 3},
            {"bbox": [60, 45, 10, 5], "tag": "broken"},
        ],
        "background": [{"mask": {"size": [50, 100], "counts": [0, 5000]}, "label": "grass"}],
        "aesthetic": 5.1,
    }
    (source / "000.json").write_text(json.dumps(about))
    done = kit.bring("umg41m", source, tmp_path / "data")
    (record,) = done.records.values()
    assert [text.text for text in record.captions] == ["a dog on grass", "a brown dog"]
    assert {text.source for text in [*record.captions, *record.tags]} == {"umg41m"}
    assert [text.text for text in record.tags] == ["dog", "grass"]
    dog, leaf, grass = record.regions
    assert (dog.box_xyxy, dog.score, dog.tags[0].text, dog.captions[0].text) == (
        (10, 5, 60, 45), 0.9, "dog", "a brown dog"
    )  # fmt: skip
    assert leaf.box_xyxy == (1, 2, 4, 6)
    assert grass.is_stuff
    assert grass.box_xyxy == (0, 0, 100, 50)
    assert done.reasons == [("bad_box", "000.jpg")]
    assert done.statistics["not_understood"] == {"aesthetic": 1, "region.depth": 1}


def test_a_link_to_nothing_is_not_passed_over(kit, photos, tmp_path):
    (photos / "gone.jpg").symlink_to(tmp_path / "moved away.jpg")
    done = kit.bring("folder", photos, tmp_path / "data")
    assert done.reasons == [("no_image", "gone.jpg")]


YOLO, VOC = "0 0.5 0.5 0.2 0.2\n", "<annotation><object><name>cat</name></object></annotation>"
LABELME = '{"shapes": [], "imagePath": "a.jpg"}'


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("yolo", {"a.jpg": 1, "a.txt": YOLO, "b.jpg": 2, "classes.txt": "cat"}),
        ("yolo", {"images/a.jpg": 1, "labels/a.txt": YOLO}),
        ("yolo", {"images/a.jpg": 1, "labels/a.txt": "0 .1 .1 .5 .1 .5 .5\n"}),
        ("voc", {"JPEGImages/a.jpg": 1, "Annotations/a.xml": VOC}),
        ("voc", {"a.jpg": 1, "a.xml": VOC}),
        ("labelme", {"a.jpg": 1, "a.json": LABELME}),
    ],
)
def test_labels_of_other_formats_are_named_with_their_command(kit, tmp_path, kind, files):
    for name, content in files.items():
        path = tmp_path / "my photos" / name
        kit.photo(path, content) if isinstance(content, int) else kit.write_text(path, content)
    with pytest.raises(InputError, match=rf"`umgclip data import {kind} '.*/my photos'` reads them, --ignore-labels"):
        kit.bring("folder", tmp_path / "my photos", tmp_path / "data")
    done = kit.bring("folder", tmp_path / "my photos", tmp_path / "data", ignore_labels=True)
    assert all(not record.captions and not record.regions for record in done.records.values())


def test_numbers_alone_are_no_caption(kit, photos, tmp_path):
    (photos / "a" / "0.txt").write_text("0 0.48 0.63 0.68 0.71\n2 0.7 0.2 0.1 0.2\n")
    (photos / "a" / "2.txt").write_text("12.5\na photo of 12 cats\n")
    done = kit.bring("folder", photos, tmp_path / "data")
    assert done.reasons == [("bad_text", "a/0.jpg"), ("bad_text", "a/2.jpg")]
    assert done.records["a/0.jpg"].captions == []
    assert texts(done.records["a/2.jpg"].captions) == [("a photo of 12 cats", "alt")]


def test_texts_beside_no_image_are_counted(kit, photos, tmp_path):
    (photos / "notes.txt").write_text("about these")
    (photos / "a" / "0.caption").write_text("another caption")
    (photos / "a" / "about.json").write_text("{}")
    done = kit.bring("folder", photos, tmp_path / "data")
    assert done.statistics["other_files"] == {".json": 1, ".txt": 1}
    assert ("another caption", "alt") in texts(done.records["a/0.jpg"].captions)


def test_texts_are_read_in_the_encoding_that_is_said(kit, photos, tmp_path):
    (photos / "a" / "0.txt").write_bytes("café".encode("latin-1"))
    (photos / "a" / "2.txt").write_bytes("thé".encode("utf-16"))
    done = kit.bring("folder", photos, tmp_path / "data", encoding="latin-1")
    assert texts(done.records["a/0.jpg"].captions) == [("café", "alt")]
    assert texts(done.records["a/2.jpg"].captions) == [("thé", "alt")]


def test_an_image_whose_name_is_no_utf_8_is_taken_in_like_others(kit, tmp_path):
    kit.photo(tmp_path / "in" / os.fsdecode(b"\xff.jpg"), 1)  # without a text
    kit.photo(tmp_path / "in" / "b.jpg", 2)
    (tmp_path / "in" / "b.txt").write_text("a cat")
    for extension in ("jpg", "txt"):
        (tmp_path / "in" / f"b.{extension}").rename(tmp_path / "in" / os.fsdecode(b"caf\xe9." + extension.encode()))
    done = kit.bring("folder", tmp_path / "in", tmp_path / "data")
    captions = sorted([caption.text for caption in record.captions or []] for record in done.records.values())
    assert captions == [[], ["a cat"]]
    assert done.quarantine == []
