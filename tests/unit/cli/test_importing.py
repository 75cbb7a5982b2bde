"""The commands of `umgclip data import`: one for each kind of source, with options that an import knows."""

import dataclasses
import inspect

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from umgclip.cli.data.importing import import_app
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


@pytest.mark.parametrize(("answer", "kinds"), [("\n", "yolo"), ("n\n", "folder")])
def test_labels_of_another_format_are_asked_about(maps, monkeypatch, answer, kinds):
    (maps / "images" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (maps / "images" / "classes.txt").write_text("cat\n")
    monkeypatch.setattr("umgclip.cli.data.importing._can_ask", lambda: True)
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
