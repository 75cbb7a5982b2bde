"""Several imports make one file: the later look wins, the other is not lost, and the order does not matter."""

import itertools
import json

import pytest

from umgclip.data.corrections import Correction, HumanLook, open_corrections, parse_correction
from umgclip.errors import InputError
from umgclip.records import Region, Text
from umgclip.review.importing import run_import
from umgclip.review.merging import merged

SHA = "a" * 64


def text(words):
    return Text(text=words, source="human")


def region(name, box, label):
    return Region(id=name, box_xyxy=box, tags=[text(label)], captions=[], source="human")


def said(at, by="ann", **more):
    looks = [HumanLook(tool="label-studio", by=by, at=at)]
    return Correction(key="k", sha256=SHA, width=100, height=80, looks=looks, **more)


def test_the_later_look_wins_whatever_the_order():
    early = said("2026-01-01T00:00:00Z", regions=[region("0", (0, 0, 9, 9), "cat")], tags=[text("cat")])
    late = said("2026-01-02T00:00:00Z", "bob", regions=[region("0", (0, 0, 9, 9), "dog")])
    results = [merged(early, late), merged(late, early)]
    assert results[0] == results[1]
    joint, conflict = results[0]
    assert [one.tags[0].text for one in joint.regions] == ["dog"]
    assert [tag.text for tag in joint.tags] == ["cat"]  # the later one was not asked for tags
    assert [look.by for look in joint.looks] == ["ann", "bob"]
    assert conflict["differs"] == ["regions"]
    assert conflict["replaced"] == json.loads(early.to_json())  # nothing is lost


def looks_at_three_times():
    """A removes the cat, B confirms it, and C, the latest, was not asked for tags."""
    cat, dog = region("0", (0, 0, 9, 9), "cat"), region("1", (50, 0, 60, 9), "dog")
    return [
        said("2026-01-01T07:00:00Z", "a", shown=["0", "1"], regions=[dog], tags=[text("dog")], removed=[cat],
             negative_tags=[text("cat")]),
        said("2026-01-01T08:00:00Z", "b", shown=["0", "1"], regions=[cat, dog], tags=[text("cat"), text("dog")]),
        said("2026-01-01T09:00:00.5Z", "c", shown=["1"], regions=[dog], captions=[text("a dog")], closed=False),
        said("2026-01-01T11:00:00+02:00", "d", tags=[text("cow")], captions=[text("a cow")], removed=[dog]),
    ]  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_each_list_has_its_own_time_whatever_the_order(order, tmp_path):
    looks = looks_at_three_times()
    joint = looks[order[0]]
    for number in order[1:]:
        joint, _ = merged(joint, looks[number])
    assert [one.tags[0].text for one in joint.regions] == ["dog"]  # of C
    assert [tag.text for tag in joint.tags] == ["cow"]  # of D: at 09:00 UTC
    assert [one.text for one in joint.captions] == ["a dog"]  # of C, half a second later than D
    assert [tag.text for tag in joint.negative_tags] == ["cat"]
    assert [one.id for one in joint.removed] == ["0"]
    assert not joint.closed
    assert [(look.by, look.lists) for look in joint.looks] == [
        ("a", ("regions", "tags")), ("b", ("regions", "tags")), ("d", ("tags", "captions")),
        ("c", ("regions", "captions")),
    ]  # fmt: skip
    in_order = looks[0]
    for look in looks[1:]:
        in_order, _ = merged(in_order, look)
    assert joint.to_json() == in_order.to_json()
    assert parse_correction(joint.to_json(), where="x") == joint


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_list_that_a_later_look_was_not_asked_for_is_that_of_the_latest_that_was(order):
    looks = looks_at_three_times()
    joint = looks[order[0]]
    for number in order[1:]:
        joint, _ = merged(joint, looks[number])
    assert [tag.text for tag in joint.tags] == ["cat", "dog"]
    assert joint.negative_tags == []


def test_the_same_files_again_are_no_new_conflict(tmp_path):
    looks = looks_at_three_times()[:3]
    for number, one in enumerate(looks):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "corrections.jsonl").write_bytes(one.to_json())
    for number in (0, 1, 2):
        run_import(tmp_path / f"{number}", None, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert before["conflicts.jsonl"].count(b"\n") == 2  # A's lists by B, B's regions by C
    for number in (0, 1, 2, 1):
        summary = run_import(tmp_path / f"{number}", None, tmp_path / "out")
        assert ("looks that a later one replaced", "0") in summary.rows
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_the_same_look_read_again_with_other_options_replaces_itself():
    closed = said("2026-01-01", tags=[text("cat")])
    opened = closed.model_copy(update={"closed": False, "tags": [text("a")]})
    assert merged(closed, opened)[0] == opened
    assert merged(opened, closed)[0] == closed


def test_images_of_two_sizes_are_not_joined():
    one = said("2026-01-01", tags=[text("cat")])
    with pytest.raises(InputError, match="image k: width, height: expected 100 x 80, got 50 x 80"):
        merged(one, one.model_copy(update={"width": 50}))


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "corrections.jsonl").write_bytes(said("1", tags=[]).to_json())
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="--out: expected a folder, which is made or added to, got the file"):
        run_import(tmp_path / "corrections.jsonl", None, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_looks_without_a_time_count_in_the_order_of_the_imports():
    timed, untimed = (
        said("2026-01-01", tags=[text("cat")]),
        said(None, tags=[text("dog")]),
    )
    assert [tag.text for tag in merged(timed, untimed)[0].tags] == ["dog"]
    assert [tag.text for tag in merged(untimed, timed)[0].tags] == ["cat"]


def test_what_was_removed_stays_removed_unless_the_later_look_has_it():
    early = said(
        "2026-01-01", regions=[], removed=[region("0", (0, 0, 9, 9), "cat"), region("1", (50, 0, 60, 9), "cow")],
        tags=[], negative_tags=[text("cat"), text("cow")], captions=[], removed_captions=[text("a cat")],
    )  # fmt: skip
    late = said(
        "2026-01-02", regions=[region("h", (0, 0, 9, 8), "cat")], tags=[text("cat")], captions=[text("A cat")],
        removed=[region("2", (20, 0, 30, 9), "tree")],
    )  # fmt: skip
    joint, _ = merged(early, late)
    assert [one.tags[0].text for one in joint.removed] == ["tree", "cow"]
    assert [tag.text for tag in joint.negative_tags] == ["cow"]
    assert joint.removed_captions == []


def test_the_same_twice_is_no_conflict():
    one = said("2026-01-01", tags=[text("cat")])
    joint, conflict = merged(one, one)
    assert (joint, conflict) == (one, None)
    agreed, conflict = merged(one, said("2026-01-02", "bob", tags=[text("cat")]))
    assert conflict is None
    assert [look.by for look in agreed.looks] == ["ann", "bob"]


def test_imports_are_joined_in_a_folder_and_by_files(tmp_path):
    """Three people's files, joined in two orders, give the same bytes; what was replaced is in conflicts.jsonl."""
    people = [
        said(f"2026-01-0{n}", f"p{n}", tags=[text(f"t{n}")]).model_copy(update={"sha256": f"{n % 2:064x}"})
        for n in range(1, 4)
    ]
    for number, one in enumerate(people):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "corrections.jsonl").write_bytes(one.to_json())
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        for number in order:
            summary = run_import(tmp_path / f"{number}", None, tmp_path / name)
    assert ("images that people looked at", "2, 1 of them new") in summary.rows
    files = [(tmp_path / name / "corrections.jsonl").read_bytes() for name in "ab"]
    assert files[0] == files[1]
    assert [one.tags[0].text for one in open_corrections(tmp_path / "a").each()] == ["t2", "t3"]
    conflict = json.loads((tmp_path / "a" / "conflicts.jsonl").read_text())
    assert [look["by"] for look in conflict["by"]] == ["p3"]
    assert conflict["replaced"]["tags"][0]["text"] == "t1"
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    run_import(tmp_path / "2", None, tmp_path / "a")  # again: nothing changes
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before


@pytest.mark.parametrize("name", ["regions", "tags", "captions"])
def test_a_list_that_only_one_was_asked_for_is_that_ones(name):
    values = {"regions": [region("0", (0, 0, 9, 9), "cat")], "tags": [text("cat")], "captions": [text("a cat")]}
    for pair in ((said("1"), said("2", **{name: values[name]})), (said("1", **{name: values[name]}), said("2"))):
        joint, conflict = merged(*pair)
        assert getattr(joint, name) == values[name]
        assert conflict is None
