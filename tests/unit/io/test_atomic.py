"""Files and folders that appear whole or not at all."""

import errno
import hashlib

import pytest

from umgclip.errors import OutputError
from umgclip.io import atomic


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "file"
    with atomic.atomic_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_keeps_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic.atomic_file(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").write_text("old", encoding="utf-8")
    with atomic.fresh_folder(path) as working:
        assert not path.exists()  # nobody trusts an old output while the new one is made
        (working / "new").write_text("new", encoding="utf-8")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_no_folder(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), atomic.fresh_folder(path) as working:
        (working / "half").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_not_taken_over(tmp_path):
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "half").write_text("half", encoding="utf-8")
    with atomic.fresh_folder(tmp_path / "out") as working:
        assert list(working.iterdir()) == []


@pytest.mark.parametrize("writer", [atomic.atomic_file, atomic.fresh_folder])
def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, writer):
    with pytest.raises(OutputError, match="cannot write .*out: no space left on the disk"), writer(tmp_path / "out"):
        no_space()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_at_the_rename_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "fsync", no_space)
    with pytest.raises(OutputError, match="no space left"):
        atomic.write_bytes(tmp_path / "out", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_is_explained(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot write .*out: a file of that name is in the way"):
        atomic.write_bytes(tmp_path / "file" / "out", b"")


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), atomic.atomic_file(tmp_path / "out"):
        (tmp_path / "none").read_bytes()


def test_json_has_one_form(tmp_path):
    atomic.write_json(tmp_path / "a", {"b": 1, "a": "é"})
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'
    assert atomic.sha256_json({"b": 1, "a": 2}) == atomic.sha256_json({"a": 2, "b": 1})


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    data = bytes(range(256)) * 5000  # more than one piece
    (tmp_path / "a").write_bytes(data)
    assert atomic.sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
