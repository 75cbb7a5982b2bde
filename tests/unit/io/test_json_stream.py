"""JSON an element at a time, against the standard parser."""

import json

import pytest

from umgclip.errors import DataError
from umgclip.io import json_stream
from umgclip.io.json_stream import read_elements

COCO = {
    "info": {"year": 2017, "nested": [1, {"a": "]}"}]},
    "images": [{"id": n, "file_name": f"bild-ä-{n}.jpg", "note": 'a "quoted", [bracketed] \\ text'} for n in range(20)],
    "annotations": [{"id": n, "segmentation": [[float(i) for i in range(50)]]} for n in range(10)],
    "empty": [],
    "number": 12345,
}


@pytest.fixture(params=[7, 64, 1 << 20], ids=["tiny pieces", "small pieces", "one piece"])
def pieces(request, monkeypatch):
    monkeypatch.setattr(json_stream, "_PIECE", request.param)


def write(tmp_path, text, name="a.json", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("options", [{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (",", ":")}])
def test_an_object_comes_as_the_elements_of_its_arrays(tmp_path, pieces, options):
    expected = []
    for name, value in COCO.items():
        expected += [(name, inner) for inner in value] if isinstance(value, list) else [(name, value)]
    assert list(read_elements(write(tmp_path, json.dumps(COCO, **options)))) == expected


def test_an_array_and_lines_come_as_their_elements(tmp_path, pieces):
    rows = COCO["images"]
    expected = [("", row) for row in rows]
    assert list(read_elements(write(tmp_path, json.dumps(rows)))) == expected
    lines = "\n".join(json.dumps(row) for row in rows) + "\n"
    assert list(read_elements(write(tmp_path, lines, "a.jsonl"))) == expected
    assert list(read_elements(write(tmp_path, json.dumps(rows[0]), "one.jsonl"))) == expected[:1]


def test_lines_are_known_without_their_suffix(tmp_path):
    lines = "\n".join(json.dumps(row) for row in COCO["images"])
    assert len(list(read_elements(write(tmp_path, lines)))) == 20


def test_a_byte_order_mark_is_passed_over(tmp_path, pieces):
    assert list(read_elements(write(tmp_path, "[1, 2]", encoding="utf-8-sig"))) == [("", 1), ("", 2)]


def test_numbers_are_not_cut(tmp_path, pieces):
    numbers = [10**n for n in range(15)]
    assert [value for _, value in read_elements(write(tmp_path, json.dumps(numbers)))] == numbers


@pytest.mark.parametrize("text", ['{"images": [{"id": 1}', "[1, 2", '{"a" 1}', "[1 2]", "{'a': 1}"])
def test_what_is_no_json_is_named(tmp_path, pieces, text):
    with pytest.raises(DataError, match=r"a\.json: not valid JSON at character \d+: "):
        list(read_elements(write(tmp_path, text)))
