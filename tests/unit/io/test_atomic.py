"""Files and folders that appear whole or not at all."""

import errno
import hashlib
import itertools
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from umgclip.errors import DataError, InputError, OutputError
from umgclip.io import atomic
from umgclip.io.atomic import explain_os_errors
from umgclip.io.weights import read_weights, write_weights


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
    for name in ("old", "new"):
        with atomic.fresh_folder(path) as working:
            assert not path.exists()  # nobody trusts an old output while the new one is made
            (working / name).write_text(name, encoding="utf-8")
    assert sorted(entry.name for entry in path.iterdir()) == [atomic.MARKER, "new"]
    assert list(tmp_path.iterdir()) == [path]


def files_in(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_others_made_is_not_replaced(tmp_path):
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "deep/c.jpg"):
        (photos / name).write_text(name)
    before = files_in(tmp_path)
    said = (
        r"photos: expected a new or empty folder, or one that umgclip made and may replace \(with .made-by-umgclip in "
        r"it\), found a.jpg, b.jpg, deep; delete it first, or name another"
    )
    with pytest.raises(InputError, match=said), atomic.fresh_folder(photos):
        pytest.fail("it was given away")
    with pytest.raises(InputError, match=r"a.jpg: expected a new folder .* found a file"):
        atomic.require_replaceable(photos / "a.jpg")
    (tmp_path / "link").symlink_to(photos)
    with (
        pytest.raises(InputError, match="link: expected a new or empty folder"),
        atomic.fresh_folder(tmp_path / "link"),
    ):
        pytest.fail("it was given away")
    assert files_in(tmp_path) == before


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic.fresh_folder(tmp_path / "out") as working:
        (working / "new").write_text("new", encoding="utf-8")
    assert (tmp_path / "out" / "new").is_file()


@pytest.mark.parametrize(
    ("names", "ours"),
    [
        (["register.json", "model_card.md"], True),
        (["great_expectations", "index.html"], True),
        (["gallery.json", "index.html", "images", "data.js"], True),
        (["register.json", "thesis.tex"], False),
        (["index.html"], False),
        (["index.html", "images"], False),
    ],
)
def test_what_earlier_versions_made_beside_the_pipelines_outputs_is_known(tmp_path, names, ours):
    for name in names:
        (tmp_path / name).write_text("", encoding="utf-8")
    if ours:
        atomic.require_replaceable(tmp_path)
        return
    with pytest.raises(InputError, match="delete it first"):
        atomic.require_replaceable(tmp_path)


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


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)])
def test_modes_are_what_the_umask_says(tmp_path, umask, file_mode, folder_mode):
    before = os.umask(umask)
    try:
        with atomic.fresh_folder(tmp_path / "out") as working:
            write_weights(working / "weights.safetensors", {"a": torch.zeros(2)})
            save_file({"a": torch.zeros(2)}, working / "library.safetensors")
            with tempfile.NamedTemporaryFile(dir=working, delete=False) as left:
                left.write(b"of a library")
            Path(tempfile.mkdtemp(dir=working), "deep").write_text("x", encoding="utf-8")
            atomic.write_json(working / "a.json", {})
            (working / "link").symlink_to("a.json")
        atomic.write_bytes(tmp_path / "alone", b"x")
        write_weights(tmp_path / "alone.safetensors", {"a": torch.zeros(2)})
    finally:
        os.umask(before)
    found = [path for path in tmp_path.rglob("*") if not path.is_symlink()]
    assert len(found) == 10
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (folder_mode if path.is_dir() else file_mode), path


def test_what_may_not_be_read_is_told_from_what_is_not_there():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with pytest.raises(DataError, match="nothing: expected a file, found none"):
            read_weights(folder / "nothing")
        closed = folder / "closed.safetensors"
        write_weights(closed, {"a": torch.zeros(2)})
        assert read_weights(closed)["a"].shape == (2,)
        closed.chmod(0)
        said = r"closed.safetensors: no permission to read it \(mode 0000 of user \d+, this is user \d+\); chmod a\+r"
        with not_root(), pytest.raises(DataError, match=said):
            read_weights(closed)


@contextmanager
def not_root():
    """Root may read everything: for a moment this process is somebody else."""
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)


def wrapped(*errors: Exception) -> Exception:
    for outer, inner in itertools.pairwise(errors):
        outer.__context__ = inner
    return errors[0]


@pytest.mark.parametrize(
    "error",
    [
        wrapped(RuntimeError("unexpected pos 704 vs 598"), OSError(errno.ENOSPC, "No space left on device")),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        ValueError("(sqlite3.OperationalError) database or disk is full"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_a_full_disk_is_found_in_what_libraries_make_of_it(error, tmp_path):
    said = r"cannot write .*a: (no space left on the disk|disk quota used up)"
    with pytest.raises(OutputError, match=said), explain_os_errors(tmp_path / "a"):
        raise error


def test_other_errors_go_through_as_they_are(tmp_path):
    for error in (RuntimeError("unexpected pos 704 vs 598"), DataError("a full stop"), KeyError("disk")):
        with pytest.raises(type(error)) as caught, explain_os_errors(tmp_path / "a"):
            raise error
        assert caught.value is error


def holding(path, name, **how):
    with atomic.replaced_folder(path, **how) as working:
        (working / name).write_text(name)


def test_what_a_command_made_stays_until_the_new_one_is_complete(tmp_path):
    out = tmp_path / "out"
    holding(out, "one", kind="search page")
    with pytest.raises(KeyboardInterrupt), atomic.replaced_folder(out, "search page") as working:
        (working / "half").write_text("half")
        raise KeyboardInterrupt
    assert sorted(path.name for path in out.iterdir()) == [atomic.MARKER, "one"]
    holding(out, "two", kind="search page")
    assert sorted(path.name for path in out.iterdir()) == [atomic.MARKER, "two"]
    assert list(tmp_path.iterdir()) == [out]


def test_what_was_moved_away_by_a_process_that_was_killed_comes_back(tmp_path):
    out = tmp_path / "out"
    holding(out, "one", kind="gallery")
    out.rename(tmp_path / ".out.replaced")
    with pytest.raises(KeyboardInterrupt), atomic.replaced_folder(out, "gallery"):
        raise KeyboardInterrupt
    assert (out / "one").is_file()
    holding(out, "two", kind="gallery")
    assert list(tmp_path.iterdir()) == [out]


def test_an_output_takes_the_place_of_its_own_kind_only(tmp_path):
    page, stage, demo = tmp_path / "page", tmp_path / "stage", tmp_path / "demo"
    holding(page, "page", kind="search page")
    with atomic.fresh_folder(stage) as working:
        (working / "weights").write_text("weights")
    holding(demo, "scenes", ours=lambda folder: (folder / "scenes").is_file())
    before = files_in(tmp_path)
    for path, how in [(page, {"kind": "gallery"}), (stage, {"kind": "gallery"}), (demo, {"kind": "gallery"})]:
        with pytest.raises(InputError, match=r"found .*; delete it first, or name another"):
            holding(path, "other", **how)
    for path in (page, demo):
        with pytest.raises(InputError, match="with .made-by-umgclip in it"), atomic.fresh_folder(path):
            pytest.fail("it was given away")
    assert files_in(tmp_path) == before


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    holding(tmp_path / "real", "one", kind="gallery")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    holding(tmp_path / "link", "two", kind="gallery")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "one").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
