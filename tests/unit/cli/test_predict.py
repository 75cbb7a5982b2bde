"""`umgclip predict`: images and boxes in, JSON lines out; what cannot be read costs its line alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import umgclip
from umgclip.__main__ import app
from umgclip.io.atomic import sha256_file, write_json
from umgclip.model.clip import files
from umgclip.params import TowerParams


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Create a base with random weights and two photographs, one of them truncated."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    config = files.tower_config(TowerParams(width=32, layers=1, heads=2, text_width=32, text_layers=1, text_heads=2))
    (tmp_path / "base").mkdir()
    files.save(tmp_path / "base", files.build(config), config)
    (tmp_path / "photos" / "in").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photos/a.jpg")
    Image.fromarray(pixels[::-1]).save("photos/in/b.PNG")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path


def predict(*words, code=0):
    done = CliRunner().invoke(app, ["predict", *words, "--model", "base"])
    assert getattr(done.exception, "exit_code", done.exit_code) == code, done.output + str(done.exception)
    return done.stdout, str(done.exception)


def test_images_of_a_folder_are_classified(here):
    said, _ = predict("photos", "--labels", "a dog, key,", "--labels", "tree", "--top", "2")
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [line["image"] for line in lines] == ["photos/a.jpg", "photos/in/b.PNG"]
    scores = umgclip.load("base").classify("photos/a.jpg", ["a dog", "key", "tree"])[0]
    best = [["a dog", "key", "tree"][i] for i in np.argsort(-scores)[:2]]
    assert [one["label"] for one in lines[0]["labels"]] == best
    assert lines[0]["labels"][0]["score"] == pytest.approx(scores.max(), abs=1e-5)


def test_boxes_are_classified_where_they_are_given(here):
    (here / "boxes.json").write_text(json.dumps({"a.jpg": [[0, 0, 40, 40], [10, 10, 80, 60]]}))
    (here / "labels.txt").write_text("dog\nkey\n")
    predict("photos", "--labels", "@labels.txt", "--boxes", "boxes.json", "--out", "found.jsonl")
    lines = [json.loads(line) for line in (here / "found.jsonl").read_text().splitlines()]
    assert [box["box_xyxy"] for box in lines[0]["boxes"]] == [[0, 0, 40, 40], [10, 10, 80, 60]]
    assert sum(one["score"] for one in lines[0]["boxes"][1]["labels"]) == pytest.approx(1.0, abs=1e-4)
    assert "labels" in lines[1]
    table, _ = predict("photos", "--labels", "dog", "--boxes", "boxes.json", "--table")
    assert "10, 10, 80, 60" in table


@pytest.mark.parametrize("out", [[], ["--out", "found"]])
@pytest.mark.parametrize(
    ("trained_on", "is_said"), [(["demo/train"], True), (["demo/train", "birds"], False), (None, False)]
)
def test_a_model_of_drawn_images_says_so_once_beside_the_result(here, trained_on, is_said, out):
    report = {"weights_sha256": sha256_file(here / "base" / files.WEIGHTS), "pretrained": "scratch", "model": "tiny"}
    write_json(here / "base" / "base.json", report | ({"trained_on": trained_on} if trained_on else {}))
    done = CliRunner().invoke(app, ["predict", "photos", "--labels", "dog", "--model", "base", *out])
    line = "predict: this model was trained on drawn images alone (demo/train); it is of little use on photographs"
    assert done.stderr.splitlines().count(line) == is_said
    assert line not in done.stdout


def test_an_image_that_cannot_be_read_costs_its_line(here):
    (here / "photos" / "torn.jpg").write_bytes((here / "photos" / "a.jpg").read_bytes()[:200])
    (here / "boxes.json").write_text(json.dumps({"a.jpg": [[50, 0, 40, 40], [0, 0, 40, 40], "x"]}))
    said, error = predict("photos", "--labels", "dog", "--boxes", "boxes.json", code=3)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert ["error" in line for line in lines] == [False, False, True]
    assert ["error" in box for box in lines[0]["boxes"]] == [True, False, True], "a bad box costs itself"
    assert "x0 < x1" in lines[0]["boxes"][0]["error"]
    assert "2 of 3 images could not be classified" in error


def test_a_file_of_labels_is_no_json(here):
    (here / "labels.json").write_text('["dog", "key"]')
    for words in (["--labels", "@labels.json"], ["--labels-file", "labels.json"]):
        _, error = predict("photos", *words, code=2)
        assert "labels.json: expected one label per line, got JSON" in error
    (here / "labels.txt").write_text("[sic] a dog\n{key}\n")
    said, _ = predict("photos", "--labels-file", "labels.txt")
    assert {one["label"] for one in json.loads(said.splitlines()[-1])["labels"]} == {"[sic] a dog", "{key}"}


def test_boxes_belong_to_one_image_each(here):
    (here / "boxes.json").write_text(json.dumps({"a.jpg": [], "A.jpg": [[0, 0, 9, 9]]}))
    _, error = predict("photos", "--labels", "dog", "--boxes", "boxes.json", code=2)
    assert "expected names of the images (a.jpg, b.PNG, ...), got 'A.jpg' (1 of 2 names)" in error
    (here / "photos" / "in" / "a.jpg").write_bytes((here / "photos" / "a.jpg").read_bytes())
    (here / "boxes.json").write_text(json.dumps({"a.jpg": [[0, 0, 9, 9]]}))
    _, error = predict("photos", "--labels", "dog", "--boxes", "boxes.json", code=2)
    assert "got 'a.jpg', the name of photos/a.jpg and of photos/in/a.jpg; use their paths instead" in error
    (here / "boxes.json").write_text(json.dumps({"photos/in/a.jpg": [[0, 0, 9, 9]]}))
    said, _ = predict("photos", "--labels", "dog", "--boxes", "boxes.json")
    assert ["boxes" in json.loads(line) for line in said.splitlines() if line.startswith("{")] == [False, True, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing", "--labels", "dog"], "nothing: expected an image or a folder, found nothing"),
        (["base", "--labels", "dog"], "base: expected images (.avif, .bmp"),
        (["photos/text", "--labels", "dog"], "), found .txt 2, no suffix 1"),
        (["photos", "--labels", " , "], "--labels: expected names separated by commas"),
        (["photos", "--labels", "a dog,,A  dog"], "more than case and white space, got 'a dog' and 'A dog'; leave one"),
        (["photos", "--labels", "a,,a"], "more than case and white space, got 'a' and 'a'; leave one out"),
        (["photos", "--labels", "dog,Dog", "--out", "out"], "more than case and white space, got 'dog' and 'Dog'"),
        (["photos", "--labels", "dog", "--background", "@none", "--out", "out"], "--background: expected a file with"),
        (["photos", "--labels", "@none"], "found none at none"),
        (["photos", "--labels", "dog", "--boxes", "photos/notes.txt"], "expected JSON, got"),
        (["photos", "--labels", "dog", "--boxes", "none"], "expected a JSON file, found none at none"),
        (["photos/in", "--labels", "dog", "--out", "photos/a.jpg"], "--out: expected a file for JSON lines, which is"),
        (["photos/notes.txt", "--labels", "dog", "--out", "photos/notes.txt"], "photos/notes.txt is an image"),
    ],
)
def test_mistakes_are_one_message(here, words, message):
    before = (here / "photos" / "a.jpg").read_bytes()
    (here / "photos" / "text").mkdir()
    for name in ("a.txt", "b.TXT", "noext", ".hidden.jpg"):
        (here / "photos" / "text" / name).write_text("no image")
    assert message in predict(*words, code=2)[1]
    assert (here / "photos" / "a.jpg").read_bytes() == before
    assert (here / "photos" / "notes.txt").read_text() == "no image"


def test_a_link_to_nothing_is_an_image_that_cannot_be_read(here):
    (here / "photos" / "gone.jpg").symlink_to(here / "nowhere.jpg")
    said, error = predict("photos", "--labels", "dog", code=3)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [line["image"] for line in lines if "error" in line] == ["photos/gone.jpg"]
    assert "1 of 3 images could not be classified" in error


def test_files_that_are_no_images_by_their_suffix_are_counted_and_hidden_ones_left_out(here):
    image = (here / "photos" / "a.jpg").read_bytes()
    (here / "photos" / ".thumbs").mkdir()
    for name in ("noext", "x.HEIC", ".hidden.jpg", ".thumbs/a.jpg", ".DS_Store"):
        (here / "photos" / name).write_bytes(image)
    (here / "photos" / "lines.jsonl").write_text("")
    words = ["predict", "photos", "--labels", "dog", "--model", "base"]
    done = CliRunner().invoke(app, [*words, "--out", "photos/lines.jsonl"])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (here / "photos" / "lines.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == ["photos/a.jpg", "photos/in/b.PNG"]
    told = "predict: left out, because their suffix is none of an image: .heic 1, .txt 1, no suffix 1"
    assert told in done.stderr.splitlines()
    done = CliRunner().invoke(app, ["predict", "photos/noext", "photos/.hidden.jpg", *words[2:]])
    assert done.exit_code == 0, "a file that is named is read, whatever it is called"
    assert "left out" not in done.stderr
    assert done.stdout.count('"labels"') == 2


@pytest.mark.parametrize("words", [["nowhere", "--labels", "dog"], ["photos", "--labels", ""]])
def test_arguments_are_checked_before_torch_is_loaded(here, words):
    code = (
        "import sys; from umgclip.__main__ import app; from umgclip.cli import exits\n"
        "code = exits.run(lambda: app(sys.argv[1:], prog_name='umgclip', standalone_mode=False), 'umgclip')\n"
        "print(code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "predict", *words]
    env = {**os.environ, "PYTHONPATH": str(Path(umgclip.__file__).parents[1])}
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2", "False"], done.stderr


def test_a_terminal_without_the_characters_of_a_label_ends_no_command(here):
    (here / "labels.txt").write_text("día\n日本\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "umgclip",
        "predict",
        "photos/a.jpg",
        "--labels",
        "@labels.txt",
        "--table",
        "--model",
    ]
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env["PYTHONPATH"] = str(Path(umgclip.__file__).parents[1])
    done = subprocess.run([*command, "base"], cwd=here, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "d\\xeda" in done.stdout
