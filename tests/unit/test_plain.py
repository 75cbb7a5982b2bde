"""Texts from elsewhere: well formed when they come in, harmless on a terminal."""

import io

import pytest

from umgclip.plain import brief, cause, line_of, printable, well_formed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat \ud83d", "a cat \ufffd"),
        ("\udc00x", "\ufffdx"),
        ("\ud83d\ude00", "\U0001f600"),
        ("caf\u00e9 \U0001f600", "caf\u00e9 \U0001f600"),
        ("", ""),
    ],
)
def test_halves_of_an_emoji_are_replaced_and_pairs_are_joined(text, expected):
    assert well_formed(text) == expected
    assert well_formed(expected) == expected


def test_nothing_that_commands_a_terminal_is_printed():
    assert printable("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert printable("\x1b]8;;http://x\x1b\\link\x9b") == "\\x1b]8;;http://x\\x1b\\link\\x9b"
    assert printable("abc\u202etxt.exe") == "abc\\u202etxt.exe"
    assert printable("half \ud83d") == "half \\ud83d"
    assert printable("two\nlines\tand tabs") == "two lines and tabs"
    assert printable("two\nlines", lines=True) == "two\nlines"
    assert printable("line\r\u2028over") == "line\\r\\u2028over"
    assert printable("[/b] \u00e9\u4e2d\U0001f468\u200d\U0001f469") == "[/b] \u00e9\u4e2d\U0001f468\u200d\U0001f469"


def test_any_value_can_be_said_briefly():
    endless: list = []
    endless.append(endless)
    assert brief("64px") == "'64px'"
    assert brief(list(range(1000))) == str(list(range(1000)))[:60] + "..."
    assert brief(10**5000) == "a int"
    assert brief(endless) == "[[...]]"


def test_an_error_is_told_with_the_place_in_this_package():
    from umgclip.geometry.polygons import clipped

    with pytest.raises(ValueError, match="zip") as caught:
        clipped([1e9], 1, 1)
    assert line_of(caught.value).startswith("ValueError: zip() argument 2 is shorter than argument 1 (")
    assert "(umgclip/geometry/polygons.py:" in line_of(caught.value)
    with pytest.raises(ValueError, match="invalid") as caught:
        int("x\ny")
    assert line_of(caught.value) == "ValueError: invalid literal for int() with base 10: 'x\\ny'"


def test_what_raised_is_said_without_addresses():
    error = OSError(f"cannot identify image file {io.BytesIO()!r}")
    assert cause(error) == "OSError: cannot identify image file"
