"""JSON that others wrote."""

import math

import pytest

from umgclip.errors import DataError
from umgclip.io.json_stream import read_elements
from umgclip.io.json_text import TooDeepError, parse


def test_texts_come_out_well_formed():
    assert parse('{"a \\ud83d": ["x\\uDC00", {"b": "\\ud83d\\ude00"}]}') == {
        "a \ufffd": ["x\ufffd", {"b": "\U0001f600"}]
    }
    assert parse('"\\\\ud83d"') == "\\ud83d"


@pytest.mark.parametrize(
    ("text", "value"), [("1" * 400, int("1" * 400)), ("9" * 5000, math.inf), ("-" + "9" * 5000, -math.inf)]
)
def test_whole_numbers_may_have_any_length(text, value):
    assert parse(f'{{"width": {text}, "n": [1, 2.5]}}') == {"width": value, "n": [1, 2.5]}


@pytest.mark.parametrize("text", ["", "{", "[1, 2] 3", "nul"])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"line 1 column"):
        parse(text)


def test_lists_in_lists_without_end_are_a_value_error(tmp_path):
    with pytest.raises(TooDeepError):
        parse("[" * 100_000 + "]" * 100_000)
    path = tmp_path / "x.json"
    path.write_text('{"images": [' + "[" * 100_000 + "]" * 100_000 + "]}")
    with pytest.raises(DataError, match=r"x.json: not valid JSON at character 12: too many brackets inside each other"):
        list(read_elements(path))


def test_elements_of_a_file_come_out_well_formed(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"annotations": [{"caption": "a \\ud83d", "id": ' + "7" * 5000 + "}]}")
    assert list(read_elements(path)) == [("annotations", {"caption": "a \ufffd", "id": math.inf})]
