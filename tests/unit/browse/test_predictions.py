"""Predictions beside the truth: those of an evaluation, and those of models that are given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from umgclip.browse.classifying import Classifiers
from umgclip.browse.gallery import Inputs, write_gallery
from umgclip.browse.settings import Selection
from umgclip.cli.data.browsing import browse
from umgclip.errors import DataError, InputError
from umgclip.io import tables
from umgclip.io.manifest import read_manifest
from umgclip.io.places import place_at
from umgclip.records import Region, Text

PAGE = '<!doctype html>\n<html lang="en">\n<head></head><body>report</body></html>'


def row(key: str, region: str | None, model: str, label: str, truth: str) -> dict[str, object]:
    return {"key": key, "region_id": region, "model": model, "label": label, "truth": truth, "score": 0.5,
            "truth_score": 0.25}  # fmt: skip


@pytest.fixture
def evaluated(kit, tmp_path) -> tuple[Path, Path]:
    """Three images, and an evaluation that names the thing of the first and the third as a whole."""
    data = kit.dataset(tmp_path / "data", [[kit.sample("a"), kit.sample("b")], [kit.sample("c")]])
    out = tmp_path / "evaluate"
    out.mkdir()
    rows = [row("a", "0", "base", "cat", "dog"), row("a", "0", "tuned", "dog", "dog")]
    rows += [row("c", None, "base", "dog", "dog"), row("elsewhere", "0", "base", "dog", "dog")]
    tables.write_table(out / "predictions.parquet", rows, tables.PREDICTIONS)
    (out / "cases.json").write_text(json.dumps({"scenes": {"gained": ["a"], "best": ["a"]}, "singles": {}}))
    (out / "report.html").write_text(PAGE)
    return data, out


def show(kit, data: Path, predictions: Path | None, out: Path, classifiers: Classifiers | None = None, **selection):
    inputs = Inputs(
        place_at(data), read_manifest(data), (), predictions and place_at(predictions), classifiers
    )  # fmt: skip
    write_gallery(Selection(**selection), inputs, out, lambda _: None)
    content = kit.content(out)
    return content["about"], {card["key"]: card for card in content["cards"]}


def test_an_evaluations_predictions_and_its_report_come_with_the_images(kit, evaluated, tmp_path):
    about, cards = show(kit, *evaluated, tmp_path / "out")
    assert (about["models"], about["report"], about["problems"]) == (["base", "tuned"], True, [])
    assert cards["a"]["guesses"] == [
        {"region": 0, "truth": "dog", "by": [["cat", 0.5, False], ["dog", 0.5, True]]},
    ]
    assert cards["c"]["guesses"] == [{"region": None, "truth": "dog", "by": [["dog", 0.5, True], None]}]
    assert "guesses" not in cards["b"]
    assert cards["a"]["cases"] == ["gained", "best"]
    assert (tmp_path / "out" / "report.html").read_text() == PAGE.replace('"en"', '"en" data-gallery')
    assert (evaluated[1] / "report.html").read_text() == PAGE  # an output of the stage stays as it is


def test_images_of_the_report_are_shown_whatever_was_drawn(kit, evaluated, tmp_path):
    for number in range(4):
        _, cards = show(kit, *evaluated, tmp_path / "out", count=1, shards=1, seed=number)
        assert "a" in cards, number
    assert any(not card["drawn"] for card in cards.values()) or len(cards) == 1


def test_predictions_about_another_dataset_are_a_problem_on_the_page(kit, evaluated, tmp_path):
    other = kit.dataset(tmp_path / "other", [[kit.sample("x")]])
    about, _ = show(kit, other, evaluated[1], tmp_path / "out")
    assert "expected predictions about this dataset" in about["problems"][0]


def test_other_folders_and_damaged_files_are_refused(kit, evaluated, tmp_path):
    data, out = evaluated
    with pytest.raises(InputError, match="--predictions: expected a folder that `umgclip evaluate` wrote"):
        show(kit, data, data, tmp_path / "out")
    (out / "cases.json").write_text("[1]")
    with pytest.raises(DataError, match=r"cases.json: expected keys of images by kind"):
        show(kit, data, out, tmp_path / "out")
    (out / "cases.json").write_text("{}")
    (out / "predictions.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="not a readable table"):
        show(kit, data, out, tmp_path / "out")
    tables.write_table(out / "predictions.parquet", [], tables.QUARANTINE)
    with pytest.raises(DataError, match="expected a table of predictions, got no column 'label'"):
        show(kit, data, out, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["a"]}, "--labels: expected --model beside them"),
        ({"model": ["m"]}, "--model: expected --labels a,b,c or @FILE, because .* states no classes"),
        ({"model": ["=m"], "labels": ["a"]}, "--model: expected MODEL or NAME=MODEL, got '=m'"),
        ({"model": ["x=m", "x=n"], "labels": ["a"]}, "--model: expected different models, got x twice"),
        ({"predictions": "p", "model": ["m"]}, "--predictions: expected these or --model"),
    ],
)
def test_the_command_says_which_options_go_together(kit, tmp_path, options, message):
    data = kit.dataset(tmp_path / "data", [[kit.sample("a")]])
    with pytest.raises(InputError, match=message):
        browse(str(data), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


class Fake:
    """A model that is sure of one label, and remembers what it was asked about."""

    def __init__(self, label: str) -> None:
        self.label, self.asked = label, []

    def classify(self, image, labels, *, boxes_xyxy=None, masks=None):
        self.asked.append((image.shape, boxes_xyxy, masks))
        rows = len(boxes_xyxy or masks or [None])
        return np.array([[0.9 if label == self.label else 0.05 for label in labels]] * rows)


def test_models_name_the_regions_of_what_is_shown(kit, tmp_path):
    named = Region(id="n", box_xyxy=(1, 1, 9, 9), tags=[Text(text="Dog", source="human")])
    bare = Region(id="u", box_xyxy=(1, 1, 9, 9))
    sky = Region(id="s", box_xyxy=(0, 0, 80, 60), is_stuff=True, tags=[Text(text="sky", source="human")])
    single = [Text(text="cat", source="human")]
    samples = [kit.sample("r", regions=[sky, named, bare]), kit.sample("w", tags=single), kit.sample("m")]
    samples.append(kit.sample("broken", image=b"\xff\xd8\xff"))
    models = {"first": Fake("cat"), "second": Fake("dog")}
    data = kit.dataset(tmp_path / "data", [samples])
    about, cards = show(kit, data, None, tmp_path / "out", Classifiers(models, ["dog", "cat"]))
    assert about["models"] == ["first", "second"]
    assert cards["r"]["guesses"] == [
        {"region": 1, "truth": "Dog", "by": [["cat", 0.9, False], ["dog", 0.9, True]]},
        {"region": 2, "truth": None, "by": [["cat", 0.9, None], ["dog", 0.9, None]]},
    ]
    assert cards["w"]["guesses"] == [{"region": None, "truth": "cat", "by": [["cat", 0.9, True], ["dog", 0.9, False]]}]
    assert "guesses" not in cards["broken"]
    (_, boxes, masks), (_, no_boxes, no_masks), (shape, _, of_mask) = models["first"].asked
    assert (boxes, masks) == ([(1, 1, 9, 9), (1, 1, 9, 9)], None)
    assert (no_boxes, no_masks) == (None, None)
    assert shape == (60, 80, 3)
    assert of_mask[0].sum() == 1200


def test_an_older_imports_table_names_the_files(kit, tmp_path):
    data = kit.dataset(tmp_path / "data", [[kit.sample("a"), kit.sample("b")]])
    rows = [{**tables.image_row(kit.record(key), "000.tar"), "name": name, "format": "jpg", "bytes": 1}
            for key, name in (("a", "IMG 1.jpg"), ("b", None))]  # fmt: skip
    tables.write_table(data / "images.parquet", rows, tables.IMPORTED)
    _, cards = show(kit, data, None, tmp_path / "out")
    assert cards["a"]["source"]["name"] == "IMG 1.jpg"
    assert "name" not in cards["b"]["source"]
