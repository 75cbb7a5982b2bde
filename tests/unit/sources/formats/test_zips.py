"""Zips, entry by entry: the same as Python's own reader says, and damaged ones."""

import io
import zipfile

import pytest

from umgclip.sources.formats.shared.zips import ZipError, read_entry, zip_entries

LIMIT = 1 << 20


def written(path, files, prefix=b"", comment=b"", **options):
    """Write a zip; `options` are those of `ZipFile.writestr`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(name, data, **options)
    path.write_bytes(prefix + buffer.getvalue())
    return path


def read(path, limit=LIMIT):
    with path.open("rb") as file:
        return {entry.name: read_entry(file, entry, limit) for entry in zip_entries(path)}


FILES = {"a.json": b"{}", "in/ä.json": b"x" * 3000, "in/": b"", "empty": b""}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("around", [{}, {"comment": b"PK\x05 a comment"}, {"prefix": b"#!/bin/sh\n" * 9}])
def test_what_pythons_reader_reads(tmp_path, method, around):
    path = written(tmp_path / "a.zip", FILES, compress_type=method, **around)
    with zipfile.ZipFile(path) as archive:
        expected = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    assert read(path) == expected


def test_zips_with_numbers_of_64_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20)  # bytes from which positions and sizes are wide
    path = written(tmp_path / "a.zip", FILES)
    assert b"PK\x06\x06" in path.read_bytes()
    assert read(path) == {name: data for name, data in FILES.items() if not name.endswith("/")}


def test_a_zip_that_was_cut_off_has_no_directory(tmp_path):
    path = written(tmp_path / "a.zip", FILES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ZipError, match="cut off"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(ZipError, match="cut off"):
        read(path)


def test_a_damaged_directory_gives_what_is_before_the_damage(tmp_path):
    path = written(tmp_path / "a.zip", {"a": b"1", "b": b"2"})
    data = path.read_bytes()
    second = data.rfind(b"PK\x01\x02")
    path.write_bytes(data[:second] + b"XX" + data[second + 2 :])
    entries = zip_entries(path)
    assert next(entries).name == "a"
    with pytest.raises(ZipError, match="expected 2 files in its directory, got 1"):
        next(entries)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"hello", b"hallo"), "checksum"),
        (lambda data: b"XX" + data[2:], "header"),
        (lambda data: data.replace(b"\x50\x4b\x01\x02\x14\x03\x14\x00\x00", b"\x50\x4b\x01\x02\x14\x03\x14\x00\x01"),
         "an encrypted one"),
    ],
)  # fmt: skip
def test_damaged_files(tmp_path, change, message):
    path = written(tmp_path / "a.zip", {"a": b"hello"})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ZipError, match=message):
        read(path)


def test_files_of_other_methods_and_bombs(tmp_path):
    with pytest.raises(ZipError, match="method 12"):
        read(written(tmp_path / "a.zip", {"a": b"hello" * 99}, compress_type=zipfile.ZIP_BZIP2))
    bomb = written(tmp_path / "b.zip", {"a": b"\0" * 100_000}, compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(ZipError, match="at most 1000 bytes, got 100000"):
        read(bomb, 1000)
    data = bomb.read_bytes()  # the sizes are a lie
    size = (100_000).to_bytes(4, "little")
    bomb.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(ZipError, match="expected 10 bytes, got more"):
        read(bomb, 1000)
