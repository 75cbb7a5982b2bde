"""Texts from elsewhere: well formed when they come in, harmless on a terminal, without keys when shown."""

import html
import io
import re

import pytest

from umgclip.safe_text import brief, cause, in_markdown, line_of, printable, well_formed, without_secrets


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:hunter2@127.0.0.1:80/api", "http://***@127.0.0.1:80/api"),
        ("http://u:hun@ter2@h/x and http://h/y", "http://***@h/x and http://h/y"),
        ("http://u:hun/ter2@h/x", "http://***@h/x"),
        ("https://hunter2@github.com/a/b.git", "https://***@github.com/a/b.git"),
        ("postgresql+psycopg2://mlflow:hunter2@h:5432/mlflow", "postgresql+psycopg2://***@h:5432/mlflow"),
        ("postgresql://h/db?user=a&password=hunter2", "postgresql://h/db?user=a&password=***"),
        ("s3://b/k?X-Amz-Signature=hunter2&X-Amz-Date=1", "s3://b/k?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/?AWSAccessKeyId=hunter2&page_token=hunter2", "https://h/?AWSAccessKeyId=***&page_token=***"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("{'authorization': 'Basic aHVudGVyMg=='}", "{'authorization': 'Basic ***'}"),
        ("curl: bearer abc.hunter2", "curl: bearer ***"),
    ],
)
def test_no_key_of_an_address_is_shown(text, shown):
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:a/b", "ssh://git@github.com/a", "https://h/path@v1", "http://h:8080/a@b", "http://[::1]:80/x@y",
        "sqlite:///a/b@c.db", "https://h/?keyboard=1&monkey=2", "a flag bearer standing",
        "basic understanding", "a = b",
    ],
)  # fmt: skip
def test_what_is_no_key_stays(text):
    assert without_secrets(text) == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["a://" * 30_000, "x://y:z" * 20_000, "http://" + "a:" * 100_000, "?a.b-" * 40_000])
def test_long_texts_take_no_longer_than_they_are(text):
    assert without_secrets(text) == text


def test_markdown_shows_a_text_as_it_is():
    markdown = pytest.importorskip("markdown")
    text = "<script>alert(1)</script> [x](javascript:y) *a* `b` | c_d_e &lt; \\ \x1b[31m\n# head"
    shown = markdown.markdown(f"- {in_markdown(text)}")
    assert re.findall(r"<(\w+)", shown) == ["ul", "li"]
    assert "[x](javascript:y) *a* `b` | c_d_e" in html.unescape(shown)
    assert "\n#" not in shown
    assert in_markdown("CC-BY-4.0") == "CC-BY-4.0"
