"""Published marks beside ours, and never in one column where the protocol is another."""

import json

import pytest
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.evaluate.report.published import Mark, read_marks, standings

BOXES = {"preset": "fgclip2", "classes": 80, "images": 5000}


def evaluation(**changes):
    """An evaluation of COCO's boxes."""
    return {
        "base": {"region": {"raw_box_top1": 0.44, "box_top1": 0.5}},
        "tuned": {"region": {"raw_box_top1": 0.61, "box_top1": 0.7}},
        "protocols": {"region": {**BOXES, "crowd": "keep", **changes}},
    }


def standing(metrics, name):
    return next(one for one in standings(metrics, read_marks()) if one.name == name)


def test_the_same_protocol_brings_ours_beside_theirs():
    one = standing(evaluation(), "coco-boxes")
    assert one.ours == {"base": 0.44, "tuned": 0.61}
    assert one.differs is None
    assert one.marks[0] == Mark("FG-CLIP 2 So", pytest.approx(0.774), "FG-CLIP 2, arXiv:2510.10921")
    assert [mark.value for mark in one.marks] == sorted((mark.value for mark in one.marks), reverse=True)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"classes": 81}, "region.classes: 80 there, 81 here"),
        ({"preset": None}, "region.preset: fgclip2 there, None here"),
        ({"images": 4952}, "region.images: 5000 there, 4952 here"),
    ],
)
def test_another_protocol_keeps_ours_out_and_says_in_what_it_differs(changes, differs):
    one = standing(evaluation(**changes), "coco-boxes")
    assert (one.ours, one.differs) == ({}, differs)


def test_what_was_not_measured_is_said():
    metrics = evaluation()
    assert standing(metrics, "fg-ovd-hard").differs == "fine_grained: not measured"
    assert standing(metrics, "ade-pq").differs == "nothing here is known to measure the same"
    del metrics["tuned"]["region"]["raw_box_top1"]
    assert standing(metrics, "coco-boxes").differs == "region.raw_box_top1: not measured"


def test_every_mark_is_a_percentage_with_a_source_and_a_protocol():
    marks = read_marks()
    used = {name for one in marks.marks for name in one.values}
    assert used == set(marks.protocols)
    assert all(0 < value < 100 and one.source for one in marks.marks for value in one.values.values())
    assert all(protocol.metric for protocol in marks.protocols.values() if protocol.same)


def test_the_command_shows_two_tables_or_json(tmp_path):
    path = tmp_path / "evaluate.json"
    path.write_text(json.dumps(evaluation()))
    run = CliRunner().invoke(app, ["report", "--metrics", str(path), "--published"])
    same, other = run.stdout.split("not comparable with ours")
    assert "ours, tuned" in same
    assert "0.610" in same
    assert "ours" not in other
    assert "0.610" not in other
    run = CliRunner().invoke(app, ["report", "--metrics", str(path), "--published", "--json"])
    shown = json.loads(run.stdout)
    assert [one["protocol"] for one in shown["same"]] == ["coco-boxes"]
    assert shown["same"][0]["ours"] == {"base": 0.44, "tuned": 0.61}
    assert all("ours" not in one and one["differs"] for one in shown["other"])
