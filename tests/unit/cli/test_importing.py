"""The commands of `umgclip data import`: one for each kind of source, with options that an import knows."""

import dataclasses
import inspect
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from umgclip.cli.data.importing import import_app
from umgclip.data.stream import read_raw
from umgclip.io.manifest import read_manifest
from umgclip.sources.formats.catalog import KINDS
from umgclip.sources.request import Request

COMMANDS = {command.name: command.callback for command in import_app.registered_commands}
ELSEWHERE = {"out", "append", "replace", "params", "instances"}  # `instances` are the annotations of COCO


def test_every_kind_has_a_command():
    assert {name.replace("-", "_") for name in COMMANDS} == set(KINDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_known_to_an_import(name):
    options = set(inspect.signature(COMMANDS[name]).parameters)
    assert options - ELSEWHERE <= {field.name for field in dataclasses.fields(Request)}


@pytest.fixture
def maps(tmp_path, monkeypatch):
    """An image with its map, a table of classes, and the names that are held out."""
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "maps"):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("images/a.png")
    Image.fromarray(np.full((8, 8), 2, np.uint8)).save("maps/a.png")
    (tmp_path / "classes.txt").write_text("1: sky\n2: road\n")
    (tmp_path / "unseen.txt").write_text("road\n\n")
    (tmp_path / "params.yaml").write_text("data: {imports: {workers: 1}}\n")
    return tmp_path


def run(*arguments):
    words = ("semantic", "images", "--masks", "maps", "--split", "benchmark", *arguments)
    return CliRunner().invoke(import_app, words)


def test_options_reach_the_import(maps):
    done = run("--class-names", "classes.txt", "--held-out", "@unseen.txt", "--void", "255", "--void", "0")
    assert done.exit_code == 0, done.output
    classes = read_manifest(maps / "data" / "benchmark").classes
    assert (classes.stuff, classes.held_out) == (["sky", "road"], ["road"])


def test_a_missing_list_of_names_is_said(maps):
    done = run("--class-names", "classes.txt", "--held-out", "@nothing.txt")
    assert "--held-out: nothing.txt: expected a file with a name a line" in str(done.exception)


@pytest.fixture
def colours(tmp_path, monkeypatch):
    """Forty photographs of different colours, the first of them there twice, and a box on each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    names = [f"{number:02}.png" for number in range(40)] + ["again.png"]
    for number, name in enumerate(names):
        Image.new("RGB", (16, 12), (6 * (number % 40), 90, 30)).save(tmp_path / "photos" / name)
    content = {
        "images": [{"id": n, "file_name": name, "width": 16, "height": 12} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [2, 2, 8, 8]} for n in range(len(names))],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    (tmp_path / "params.yaml").write_text("data: {imports: {workers: 1}}\n")
    return tmp_path


def stored(folder):
    """The content hashes of a dataset's images."""
    return {json.loads(raw.json)["sha256"] for _, raw in read_raw(folder)}


def test_one_source_is_divided_into_train_and_benchmark(colours):
    words = ("coco", "photos", "--instances", "boxes.json", "--hold-out", "0.3")
    done = CliRunner().invoke(import_app, words)
    assert done.exit_code == 0, done.output
    train, benchmark = (stored(colours / "data" / split) for split in ("train", "benchmark"))
    assert train & benchmark == set()
    assert len(train | benchmark) == 40
    assert 4 <= len(benchmark) <= 20  # 12 expected
    assert read_manifest(colours / "data" / "benchmark").classes.things == ["square"]
    assert "images that belong to benchmark" in done.output
    # again, and with fewer images in the source, each is where it was
    (colours / "photos" / "03.png").unlink()
    again = CliRunner().invoke(import_app, (*words, "--replace", "--out", "other"))
    assert again.exit_code == 0, again.output
    assert stored(colours / "other" / "train") <= train
    assert stored(colours / "other" / "benchmark") <= benchmark


def test_no_project_is_needed(colours):
    (colours / "params.yaml").unlink()
    done = CliRunner().invoke(import_app, ("coco", "photos", "--instances", "boxes.json"))
    assert done.exit_code == 0, done.output
    named = CliRunner().invoke(import_app, ("folder", "photos", "--params", "mine.yaml", "--out", "other"))
    assert "mine.yaml: expected a parameter file, found none" in str(named.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--hold-out", "1.5"), "hold_out: expected a share above 0 and below 1, got 1.5"),
        (("--hold-out", "0.2", "--split", "benchmark"), "--hold-out: expected without --split"),
    ],
)
def test_a_wrong_share_is_named(colours, words, message):
    done = CliRunner().invoke(import_app, ("coco", "photos", "--instances", "boxes.json", *words))
    assert message in str(done.exception)
    assert not (colours / "data").exists()


def test_a_part_without_images_is_said(colours):
    done = CliRunner().invoke(import_app, ("folder", "photos", "--hold-out", "0.000001"))
    assert "hold_out 1e-06 leaves no image for benchmark; import more images" in str(done.exception)


@pytest.mark.parametrize(("answer", "kinds"), [("\n", "yolo"), ("n\n", "folder")])
def test_labels_of_another_format_are_asked_about(maps, monkeypatch, answer, kinds):
    (maps / "images" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (maps / "images" / "classes.txt").write_text("cat\n")
    monkeypatch.setattr("umgclip.cli.data.import_run._can_ask", lambda: True)
    done = CliRunner().invoke(import_app, ("folder", "images"), input=answer)
    assert done.exit_code == 0, done.output
    assert "Import the folder as `yolo`? [Y/n]" in done.output
    assert read_manifest(maps / "data" / "train").notes["kind"] == kinds


def test_a_pixel_0_is_an_answer(maps):
    (maps / "images" / "a.xml").write_text(
        "<annotation><object><name>cat</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>4</xmax><ymax>4</ymax></bndbox>"
        "</object></annotation>"
    )
    done = CliRunner().invoke(import_app, ("voc", "images", "--first-pixel", "0"))
    assert done.exit_code == 0, done.output
    assert "pixel 0" not in done.output
