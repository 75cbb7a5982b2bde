"""Results of several runs in one table."""

import copy
import json

import pytest

from umgclip.cli.report import markdown, show_beside
from umgclip.errors import DataError, InputError

METRICS = {
    "base": {},
    "tuned": {"region": {"mask_top1": 0.25}},
    "protocols": {"region": {"resolution": "96 x 96", "weights": {"tuned": "one"}}},
}


@pytest.fixture
def beside(tmp_path):
    """Shows METRICS beside a changed copy; gives what the user may allow to differ."""

    def show(change, allowed=()):
        other = copy.deepcopy(METRICS)
        change(other)
        for name, content in (("a.json", METRICS), ("b.json", other)):
            (tmp_path / name).write_text(json.dumps(content))
        show_beside(tmp_path / "a.json", [tmp_path / "b.json"], allowed)

    return show


def test_other_weights_stand_beside(beside, capsys):
    def retrained(other):
        other["tuned"]["region"]["mask_top1"] = 0.75
        other["protocols"]["region"]["weights"]["tuned"] = "two"

    beside(retrained)
    assert {"0.250", "0.750", "mask_top1"} <= set(capsys.readouterr().out.replace("│", " ").split())


def test_another_protocol_is_refused_by_the_field_and_allowed_by_name(beside, capsys):
    def larger(other):
        other["protocols"]["region"]["resolution"] = "224 x 224"

    with pytest.raises(InputError, match=r"a.json and .*b.json .* region.resolution, got '96 x 96' and '224 x 224'"):
        beside(larger)
    beside(larger, ["region.resolution"])
    assert "The protocols may differ in region.resolution, as --allow permits." in capsys.readouterr().out


def test_results_without_protocols_are_refused(beside):
    with pytest.raises(DataError, match=r"b.json: expected 'protocols', got metrics without them"):
        beside(lambda other: other.pop("protocols"))


def test_an_annotator_that_wrote_no_label_has_no_precision(tmp_path):
    metrics = {"base": {}, "tuned": {}, "annotator": {"box_recall": 1.0, "recall": 0.0}}
    path = tmp_path / "evaluate.json"
    path.write_text(json.dumps(metrics))
    assert "precision -, recall 0.00,\nright label where the box is right -, mask IoU -." in markdown(path)
