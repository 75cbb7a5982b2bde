"""Texts in the encoding that they have, never with a letter replaced."""

import pytest

from umgclip.errors import InputError
from umgclip.io.texts import check_encoding, decode, encoding_of, is_text, open_text, printable

TEXT = "un café à Paris, 写真\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_needs_no_word(encoding, tmp_path):
    data = ("a cat: " + TEXT).encode(encoding)
    assert decode(data).lstrip("\ufeff") == "a cat: " + TEXT
    (tmp_path / "a.txt").write_bytes(data)
    with open_text(tmp_path / "a.txt", "latin-1" if encoding != "utf-8" else None) as handle:
        assert handle.read().lstrip("\ufeff") == "a cat: " + TEXT


def test_other_encodings_are_read_as_it_is_said():
    assert decode("café".encode("cp1252"), "cp1252") == "café"
    assert decode("写真".encode("gb18030"), "gb18030") == "写真"
    with pytest.raises(UnicodeDecodeError):
        decode("café".encode("latin-1"))


def test_bytes_that_are_no_text_are_marked_where_they_stand(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good\ncaf\xe9\nalso good\r\n")
    with open_text(tmp_path / "a.txt") as handle:
        lines = list(handle)
    assert [is_text(line) for line in lines] == [True, False, True]
    assert printable(lines[1]) == "caf\\xe9\n"
    assert lines[2] == "also good\r\n"


def test_half_a_utf16_pair_is_marked_too(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfea\0\0\xd8b\0")
    with open_text(tmp_path / "a.txt") as handle:
        assert not is_text(handle.read())


@pytest.mark.parametrize("name", ["latin1", "cp1252", "GB18030"])
def test_names_of_encodings(name):
    check_encoding(name)


@pytest.mark.parametrize("name", ["klingon", "base64", ""])
def test_what_is_no_encoding_of_texts_is_refused(name):
    with pytest.raises(InputError, match="encoding: expected a name such as latin-1"):
        check_encoding(name)


def test_short_texts_are_not_taken_for_utf16():
    assert (encoding_of(b"a\0"), encoding_of(b""), encoding_of(b"ab\0\0")) == ("utf-8", "utf-8", "utf-8")
