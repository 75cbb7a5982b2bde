"""`umgclip predict --out FOLDER`: what it writes, what it does again, and what it refuses."""

import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.errors import InputError
from umgclip.io.locks import only_writer
from umgclip.model.clip import files
from umgclip.params import TowerParams
from umgclip.predictions.inputs import boxes_of, input_images

ROOT = Path(__file__).parents[3]
NAMES = ["a.jpg", "a.png", "in/a.jpg", "in/ä 鳥#%.png", "in/b.gif", "in/b.gif.png", "c.WEBP"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    torch.manual_seed(0)
    config = files.tower_config(TowerParams(width=32, layers=1, heads=2, text_width=32, text_layers=1, text_heads=2))
    folder = tmp_path_factory.mktemp("base")
    files.save(folder, files.build(config), config)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        pixels = np.full((60 + number, 80, 3), (200, 190, 150), np.uint8)
        cv2.circle(pixels, (30, 30), 16, (200, 40, 40), -1)
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path


def predict(base, *words, code=0, labels=("--labels", "dog,red mug"), out="out"):
    into = () if out is None else ("--out", out)
    done = CliRunner().invoke(app, ["predict", "photos", *labels, "--model", str(base), *into, *words, "--json"])
    assert getattr(done.exception, "exit_code", done.exit_code) == code, done.output + str(done.exception)
    if code not in (0, 3) or out is None:
        return str(done.exception)
    return json.loads(done.stdout[done.stdout.index("{") :])


def all_of(base, *words, **more):
    return predict(base, "--threshold", "0", *words, **more)


def test_the_folder_holds_pictures_coco_lines_and_a_page(here, base):
    summary = all_of(base)
    assert summary["images"] == summary["new"] == len(NAMES)
    assert summary["detections"] >= len(NAMES)
    pictures = {path.relative_to("out/pictures").as_posix() for path in Path("out/pictures").rglob("*.*")}
    assert pictures == {*NAMES} - {"in/b.gif", "in/b.gif.png"} | {"in/b.gif.png", "in/b.gif-2.png"}
    for name in ("a.jpg", "in/ä 鳥#%.png"):
        drawn, plain = np.asarray(Image.open(f"out/pictures/{name}")), np.asarray(Image.open(f"photos/{name}"))
        assert drawn.shape == plain.shape
        assert (drawn != plain).any()
    coco = COCO("out/predictions.json")
    assert sorted(image["file_name"] for image in coco.dataset["images"]) == sorted(NAMES)
    assert [one["name"] for one in coco.dataset["categories"]] == ["dog", "red mug"]
    one = coco.dataset["annotations"][0]
    mask = coco.annToMask(one)
    assert mask.shape[1] == 80
    assert one["area"] == mask.sum()
    assert 0 <= one["score"] <= 1
    assert not Path("out/quarantine.jsonl").exists()


def test_supervision_and_our_import_read_the_coco_file(here, base):
    summary = all_of(base)
    dataset = sv.DetectionDataset.from_coco("photos", "out/predictions.json", force_masks=True)
    assert sum(len(detections) for _, _, detections in dataset) == summary["detections"]
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    words = [
        "data",
        "import",
        "coco",
        "photos",
        "--instances",
        "out/predictions.json",
        "--out",
        "data",
        "--set",
        "data.imports.workers=1",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output + str(done.exception)
    from umgclip.data.stream import read_raw
    from umgclip.records import stored_record

    records = [stored_record(raw.json, key=raw.key, where="") for _, raw in read_raw(Path("data/train"))]
    regions = [region for record in records for region in record.regions or []]
    assert len(records) == len(NAMES)
    assert len(regions) == summary["detections"]
    assert all(region.mask is not None for region in regions)


def test_a_second_run_does_only_what_is_missing(here, base):
    first = all_of(base)
    before = Path("out/predictions.json").read_bytes()
    assert all_of(base)["new"] == 0
    assert Path("out/predictions.json").read_bytes() == before
    Path("out/pictures/a.jpg").unlink()
    lines = Path("out/predictions.jsonl").read_bytes()
    Path("out/predictions.jsonl").write_bytes(lines[:-30])  # killed while it wrote a line
    os.utime("photos/in/b.gif", (1, 1))  # another file since
    assert all_of(base)["new"] == 3
    assert Path("out/predictions.json").read_bytes() == before
    Image.new("RGB", (30, 30)).save("photos/new.png")
    summary = all_of(base)
    assert (summary["new"], summary["images"]) == (1, len(NAMES) + 1)
    assert summary["detections"] == first["detections"]


def test_an_image_that_cannot_be_read_is_listed_and_tried_again(here, base):
    whole = Path("photos/a.jpg").read_bytes()
    Path("photos/a.jpg").write_bytes(whole[:200])
    summary = all_of(base, code=3)
    assert summary["failed"] == ["a.jpg"]
    (line,) = [json.loads(line) for line in Path("out/quarantine.jsonl").read_text().splitlines()]
    assert line["image"] == "a.jpg"
    assert "not a readable image" in line["reason"]
    assert '"error":' in Path("out/index.html").read_text()
    lines = sorted(Path("out/predictions.jsonl").read_text().splitlines())
    assert all_of(base, code=3)["new"] == 1
    assert sorted(Path("out/predictions.jsonl").read_text().splitlines()) == lines, "a line for each image"
    assert "a.jpg" not in [
        image["file_name"] for image in json.loads(Path("out/predictions.json").read_text())["images"]
    ]
    Path("photos/a.jpg").write_bytes(whole)
    assert all_of(base)["new"] == 1
    assert not Path("out/quarantine.jsonl").exists()
    done = [json.loads(line)["image"] for line in Path("out/predictions.jsonl").read_text().splitlines()[1:]]
    assert sorted(done) == sorted(NAMES)
    assert done[-1] == "a.jpg", "as they were done"
    assert all_of(base)["new"] == 0


def test_another_question_needs_another_folder(here, base):
    all_of(base)
    assert "not made with the same labels; name another folder" in all_of(base, labels=("--labels", "cat"), code=2)
    assert "not made with the same threshold" in predict(base, code=2)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    assert "expected a new or empty folder, or one of an earlier predict, found notes.txt" in all_of(
        base, out="mine", code=2
    )
    assert "--out: expected a folder without the images" in all_of(base, out="photos", code=2)
    assert Path("mine/notes.txt").read_text() == "mine"


def test_a_second_writer_is_refused(here, base):
    with only_writer(Path("out")):
        assert f"--out: process {os.getpid()} is at work on out; wait for it" in all_of(base, code=2)
    assert not Path("out").exists()


def test_the_output_may_lie_among_the_images(here, base):
    Path("photos/noext").write_bytes(Path("photos/a.png").read_bytes())
    Path("photos/.hidden.jpg").write_bytes(Path("photos/a.jpg").read_bytes())
    summary = all_of(base, out="photos/out")
    assert summary["images"] == len(NAMES)
    assert summary["other_files"] == {"no suffix": 1}
    assert "not read: no images by their suffix" in str(summary["rows"])
    assert all_of(base, out="photos/out") | {"images": len(NAMES), "new": 0} == all_of(base, out="photos/out")


def test_boxes_may_come_from_a_coco_file(here, base):
    content = {
        "images": [{"id": 7, "file_name": "in/a.jpg"}, {"id": 8, "file_name": "c.WEBP"}],
        "annotations": [{"image_id": 7, "bbox": [10, 10, 40, 30], "category_id": 1, "id": 1}],
    }
    Path("boxes.json").write_text(json.dumps(content))
    all_of(base, "--boxes", "boxes.json", "--no-pictures")
    lines = {one["image"]: one for one in map(json.loads, Path("out/predictions.jsonl").read_text().splitlines()[1:])}
    assert [one["box_xyxy"] for one in lines["in/a.jpg"]["detections"]] == [[10, 10, 50, 40]]
    assert lines["in/a.jpg"]["detections"][0]["mask"] is None
    assert lines["c.WEBP"]["detections"] == []
    assert len(lines["a.png"]["detections"]) >= 1, "an image that the file does not name gets proposals"
    assert not Path("out/pictures").exists()
    assert len(COCO("out/predictions.json").dataset["images"]) == len(NAMES)
    content["annotations"][0]["bbox"] = [500, 10, 40, 30]
    Path("boxes.json").write_text(json.dumps(content))
    assert all_of(base, "--boxes", "boxes.json", out="other", code=3)["failed"] == ["in/a.jpg"]
    assert "boxes[0]: expected x0 < x1" in Path("other/quarantine.jsonl").read_text()


def test_labels_of_a_file_may_hold_commas_and_marks(here, base):
    Path("labels.txt").write_text("mug, red\n</script><b>\n鳥\n", encoding="utf-8")
    all_of(base, labels=("--labels-file", "labels.txt"))
    assert [one["name"] for one in json.loads(Path("out/predictions.json").read_text())["categories"]] == [
        "mug, red", "</script><b>", "鳥",
    ]  # fmt: skip
    page = Path("out/index.html").read_text()
    assert page.count("</script>") == 2
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert [name for name, _ in data["labels"]] == ["mug, red", "</script><b>", "鳥"]
    assert {unquote(image["thumb"]) for image in data["images"]} == {
        path.relative_to("out").as_posix() for path in Path("out/thumbnails").rglob("*.jpg")
    }
    assert all((Path("out") / unquote(image["picture"])).is_file() for image in data["images"])


@pytest.mark.parametrize(
    ("words", "out", "message"),
    [
        (["--table"], "out", "--table: expected without --out FOLDER"),
        (["--threshold", "0.5"], None, "--threshold: expected with --out FOLDER"),
        (["--no-pictures"], "lines.jsonl", "--no-pictures: expected with --out FOLDER"),
        (["--boxes", "none.json"], "out", "--boxes: expected a JSON file, found none at none.json"),
        (["--labels-file", "none.txt"], "out", "--labels-file: expected a file with one label per line"),
    ],
)
def test_mistakes_are_one_message(here, base, words, out, message):
    assert message in predict(base, *words, out=out, code=2)
    assert not Path("out").exists()


def test_without_labels_an_error_says_so(here, base):
    assert "--labels: expected names separated by commas" in predict(base, labels=(), code=2)


def test_names_are_different_for_each_image(tmp_path):
    for name in ("one/a.jpg", "two/a.jpg", "three/A.jpg", "three/x/one/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    given = [tmp_path / "one", tmp_path / "two" / "a.jpg", tmp_path / "three", tmp_path / "three" / "x" / "one"]
    paths = [tmp_path / name for name in ("one/a.jpg", "two/a.jpg", "three/A.jpg", "three/x/one/a.jpg")]
    images = input_images(given, paths, tmp_path / "out")
    assert [image.name for image in images] == ["one/a.jpg", "a.jpg", "three/A.jpg", "one/a-2.jpg"]
    assert boxes_of(images, {"one/a.jpg": [1]}) == {"one/a.jpg": [1]}
    with pytest.raises(InputError, match=r"got 'nothing.jpg', which belongs to none"):
        boxes_of(images, {"nothing.jpg": []})


def test_boxes_of_an_image_that_a_coco_file_lists_twice_are_one_list(here, base):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "bbox": [5, 5, 30, 30]}, {"image_id": "2", "bbox": [10, 10, 40, 30]}],
    }
    Path("boxes.json").write_text(json.dumps(content))
    all_of(base, "--boxes", "boxes.json", "--no-pictures")
    lines = {one["image"]: one for one in map(json.loads, Path("out/predictions.jsonl").read_text().splitlines()[1:])}
    found = sorted(one["box_xyxy"] for one in lines["a.jpg"]["detections"])
    assert found == [[5, 5, 35, 35], [10, 10, 50, 40]]


def test_files_of_boxes_that_lose_some_or_are_no_json_are_refused(here, base):
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 9, "bbox": [5, 5, 30, 30]}]}
    Path("boxes.json").write_text(json.dumps(content))
    told = all_of(base, "--boxes", "boxes.json", code=2)
    assert "annotations[0].image_id: expected the id of one of the file's 1 images, got 9" in told
    Path("boxes.json").write_text("[" * 100_000)
    assert "--boxes: boxes.json: expected JSON, got too many brackets" in all_of(base, "--boxes", "boxes.json", code=2)


def test_boxes_of_images_of_another_size_are_refused(here, base):
    content = {
        "images": [
            {"id": 1, "file_name": "in/a.jpg", "width": 80, "height": 62},
            {"id": 2, "file_name": "c.WEBP", "width": 5, "height": 5},  # without boxes
            {"id": 3, "file_name": "a.png"},
            {"id": 4, "file_name": "a.jpg", "width": 80, "height": 60},  # in/a.jpg, of another size, ends so, too
        ],
        "annotations": [{"image_id": number, "bbox": [5, 5, 30, 30]} for number in (1, 3, 4)],
    }
    for width, height, code in ((80, 62, 0), (62, 80, 0), (160, 124, 2)):
        content["images"][0] |= {"width": width, "height": height}
        Path("boxes.json").write_text(json.dumps(content))
        told = all_of(base, "--boxes", "boxes.json", code=code)
    assert "in/a.jpg: expected 160 x 124 pixels, on which its boxes were measured, got an image of 80 x 62" in told


def test_a_name_that_is_no_text_spoils_no_file(here, base):
    named = os.fsdecode(b"bad\xff.jpg")
    Path("photos/a.jpg").rename(f"photos/{named}")
    all_of(base)
    predict(base, out="out.jsonl")
    for path, last in (("out/predictions.jsonl", named), ("out.jsonl", f"photos/{named}")):
        lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        assert last in [line.get("image") for line in lines]
    assert "in/ä 鳥#%.png" in Path("out/predictions.jsonl").read_text(encoding="utf-8"), "other names as they are"
    assert all_of(base)["new"] == 0
    (here / "photos" / named).write_bytes(b"no image")
    assert all_of(base, code=3)["failed"] == [named]
    assert json.loads(Path("out/quarantine.jsonl").read_text(encoding="utf-8"))["image"] == named


def test_folders_that_are_linked_are_looked_into_once(here, base):
    (here / "more").mkdir()
    shutil.copy("photos/a.jpg", "more/linked.jpg")
    Path("photos/more").symlink_to(here / "more")
    Path("more/loop").symlink_to(here / "photos")
    assert all_of(base)["images"] == len(NAMES) + 1
