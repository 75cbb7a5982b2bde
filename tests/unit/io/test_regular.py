"""Files are opened; a device, a pipe or a folder in a file's place is named and never waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from umgclip.errors import DataError
from umgclip.io.places import Folder
from umgclip.io.regular import NoFileError, open_regular


def test_a_file_is_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    with open_regular(tmp_path / "b") as handle:
        assert handle.read() == b"abc"


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, found in (("pipe", "a named pipe"), ("zero", "a device")):
        with pytest.raises(NoFileError, match=f"expected a file, found {found}"):
            open_regular(tmp_path / name)
        with pytest.raises(DataError, match=f"{name}: expected a file, found {found}"):
            Folder(tmp_path).read(name, 10)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    assert {entry.name for entry in Folder(tmp_path).entries()} == {"pipe", "zero"}


def test_a_file_that_says_it_is_empty_and_is_not_is_read_up_to_the_limit() -> None:
    with pytest.raises(DataError, match="expected at most 10 bytes, got more"):
        Folder(Path("/proc/self")).read("status", 10)
