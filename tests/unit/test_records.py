"""The record: canonical bytes, and errors that name the sample and the field."""

import json

import pytest

from umgclip.errors import DataError
from umgclip.records import ImageRecord, Mask, Region, Source, Text, parse_record, stored_record

RECORD = ImageRecord(
    key="k",
    width=4,
    height=3,
    sha256="0" * 64,
    source=Source(dataset="test"),
    captions=[Text(text="a cat", source="alt")],
    regions=[Region(id="0", box_xyxy=(0.0, 1.0, 2.5, 3.0), mask=Mask(size=(3, 4), counts="04"))],
)


def test_a_record_comes_back_as_it_went():
    assert parse_record(RECORD.to_json(), where="x") == RECORD


def test_the_same_record_gives_the_same_bytes():
    assert parse_record(RECORD.to_json(), where="x").to_json() == RECORD.to_json()


def test_not_asked_for_and_nothing_found_are_two_things():
    record = parse_record(RECORD.to_json(), where="x")
    assert record.tags is None
    assert parse_record({**json.loads(RECORD.to_json()), "tags": []}, where="x").tags == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 0}, "width: .* got '0'"),
        ({"width": "wide"}, "width: "),
        ({"colour": "red"}, "colour: "),
        ({"schema_version": 2}, "schema_version: expected 1, got 2"),
        ({"captions": [{"text": "a", "source": "alt", "score": 1.5}]}, r"captions\.0\.score: "),
        ({"regions": [{"id": "0", "box_xyxy": [0, 1, 2]}]}, r"regions\.0\.box_xyxy"),
    ],
)
def test_what_is_wrong_is_named(change, said):
    with pytest.raises(DataError, match=f"^a.tar:k: .*{said}"):
        parse_record({**json.loads(RECORD.to_json()), **change}, where="a.tar:k")


def test_bytes_that_are_no_json_are_named():
    with pytest.raises(DataError, match="a.tar:k: .*Invalid JSON"):
        parse_record(b"{", where="a.tar:k")


def test_marks_of_benchmarks_are_left_out_where_there_are_none():
    assert not {b"is_crowd", b"negative_tags", b"not_exhaustive"} & set(RECORD.to_json().replace(b'"', b" ").split())
    crowd = RECORD.regions[0].model_copy(update={"is_crowd": True})
    wrong = [Text(text="dog", source="human")]
    marked = RECORD.model_copy(update={"regions": [crowd], "negative_tags": wrong, "not_exhaustive": ["cat"]})
    assert parse_record(marked.to_json(), where="x") == marked
    assert json.loads(marked.to_json())["regions"][0]["is_crowd"] is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": "other"}, "key: expected 'k' as in its file names, got 'other'"),
        ({"width": 1 << 15, "height": 1 << 14, "regions": []}, "width, height: expected at most 268435456 pixels, got"),
        ({"height": 4}, r"regions\.0\.mask\.size: expected \(4, 4\) as the image, got \(3, 4\)"),
        (
            {"regions": [{"id": "0", "box_xyxy": [0, 1, 2, float("nan")]}]},
            r"regions\.0\.box_xyxy: expected numbers, got",
        ),
        (
            {"regions": [{"id": "0", "box_xyxy": [0, 1, 2, float("inf")]}]},
            r"regions\.0\.box_xyxy: expected numbers, got",
        ),
    ],
)
def test_a_stored_record_is_that_of_its_sample(change, said):
    assert stored_record(RECORD.to_json(), key="k", where="x") == RECORD
    content = json.dumps({**json.loads(RECORD.to_json()), **change})
    with pytest.raises(DataError, match=f"^a.tar:k: {said}"):
        stored_record(content, key="k", where="a.tar:k")
