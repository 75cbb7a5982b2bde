"""Files and folders that appear whole or not at all: temporary name, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from umgclip.errors import DataError, InputError, OutputError, UmgclipError

MARKER = ".made-by-umgclip"
_MARK = "umgclip made this folder, and replaces all of it when it makes it again.\n"
_KIND = "Kind: "  # begins the line of a marker that says what the folder holds
# kinds of folders that commands make
GALLERY, SEARCH_PAGE, REVIEW, MODEL = "gallery", "search page", "tasks for reviewers", "exported model"
# what earlier versions made without a marker and DVC does not remove: a name that is always there, and other names
_UNMARKED = (
    ("register.json", "model_card.md", "vocabulary.json"),
    ("great_expectations", "index.html", "failed_report.json", "failed_quarantine.parquet"),
    ("gallery.json", "index.html", "page.css", "page.js", "data.js", "images"),
)  # fmt: skip
Ours = Callable[[Path], bool]


def _changes() -> str:
    """Return a line about values of `--set`, which the parameter file does not show."""
    overrides = sys.modules.get("umgclip.params.overrides")  # inference reads no parameters and should import none
    changed = ", ".join(map(str, overrides.active())) if overrides is not None else ""
    return f"Made with other parameters than the file's: {changed}\n" if changed else ""


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Hex SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_DISK = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "disk quota used up",
    errno.EROFS: "the file system is read-only",
}
# how libraries put it whose errors have no number: the C library, SQLite
_FULL = ("No space left on device", "database or disk is full")


def disk_trouble(error: BaseException) -> str | None:
    """Return what is wrong with the disk if that is why something failed, else None.

    Libraries wrap a full disk in errors of their own (torch.save a RuntimeError, safetensors, pyarrow, SQLAlchemy), and
    so all that led to an error is looked at.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _DISK:
            return _DISK[seen.errno]
        if any(text in str(seen) for text in _FULL):
            return _DISK[errno.ENOSPC]
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def explain_os_errors(target: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into an `OutputError` that names the path."""
    try:
        yield
    except UmgclipError:
        raise
    except Exception as error:
        if (trouble := disk_trouble(error)) is not None:
            raise OutputError(f"cannot write {target}: {trouble}") from error
        reasons = {
            errno.EACCES: "no permission to write there",
            errno.EPERM: "no permission to write there",
            errno.ENOTDIR: "a part of the path is a file, not a folder",
            errno.EEXIST: "a file of that name is in the way",
            errno.ENAMETOOLONG: "the name is too long",
        }
        if not isinstance(error, OSError) or error.errno not in reasons:
            raise
        raise OutputError(f"cannot write {target}: {reasons[error.errno]}") from error


def _fsync_dir(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _new_file(path: Path) -> int:
    """Make an empty file and return its mode, which the umask decides: reading the umask itself would change it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def open_to_others(folder: Path) -> None:
    """Give all files and folders in a folder of ours the modes that the umask says.

    Libraries write some for their owner alone (safetensors, temporary folders) and copy the modes of others.
    """
    probe = folder / f".{secrets.token_hex(6)}.mode"
    file_mode, folder_mode = _new_file(probe), stat.S_IMODE(folder.stat().st_mode)
    probe.unlink()
    for root, folders, names in os.walk(folder):
        for name, mode in (*((name, folder_mode) for name in folders), *((name, file_mode) for name in names)):
            path = Path(root, name)
            if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) != mode:
                path.chmod(mode)


def must_be_readable(path: Path) -> None:
    """Refuse a file that is missing or that this user may not read; many libraries report the second as the first.

    Raises:
        DataError: the file is missing or unreadable; the message says which.
    """
    try:
        with path.open("rb"):
            return
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a file, found none") from error
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it{_owned(path)}; chmod a+r lets others read") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _owned(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:  # the folder is closed, too
        return ""
    return f" (mode {stat.S_IMODE(status.st_mode):04o} of user {status.st_uid}, this is user {os.geteuid()})"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success fsync it and rename it over `path`, on failure remove it.

    Its mode is what the umask says.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
        mode = _new_file(temporary)
        try:
            yield temporary
            temporary.chmod(mode)  # a library may have put a file of its own there, for its owner alone
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
            _fsync_dir(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write JSON, keys sorted, two spaces, one newline at the end; whole or not at all."""
    write_bytes(path, (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode())


def is_kind(kind: str) -> Ours:
    """Return a function that checks whether `replaced_folder` made a folder, of this kind."""
    return lambda folder: f"{_KIND}{kind}\n" in _marker(folder)


def require_replaceable(path: Path, ours: Ours | None = None) -> None:
    """Refuse an output that would take the place of something that this package did not make.

    An empty folder may be replaced, and one with `MARKER` in it, which `fresh_folder` leaves in all that it makes.

    Args:
        path: of the output.
        ours: says of a folder whether it is one that may be replaced; None: by its marker, which must name no kind.

    Raises:
        InputError: the folder holds something else; the message names it.
    """
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        if not names or (_is_marked(path, names) if ours is None else ours(path)):
            return
        others = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        told = f"with {MARKER} in it" if ours is None else "of the same kind, with nothing else in it"
        raise InputError(
            f"{path}: expected a new or empty folder, or one that umgclip made and may replace ({told}), found "
            f"{others}; delete it first, or name another"
        )
    if path.exists():
        raise InputError(f"{path}: expected a new folder or an old one, which is replaced; found a file")


def _is_marked(folder: Path, names: list[str]) -> bool:
    if MARKER in names:
        return _KIND not in _marker(folder)
    return any(needed in names and set(names) <= {needed, *others} for needed, *others in _UNMARKED)


def _marker(folder: Path) -> str:
    """Return the text of a folder's marker; empty if there is none."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _remove(path: Path) -> None:
    """Remove a folder, a file or a link, if there is one; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def fresh_folder(path: Path, ours: Ours | None = None) -> Iterator[Path]:
    """Give an empty working folder beside `path`; on success it takes `path`'s place, on failure `path` is gone.

    A stage that dies leaves no output that a later run would trust: the old one is removed first, and the new one
    has its final name only when it is complete.

    Args:
        path: of the folder. What is there has to be one of ours, or empty.
        ours: as for `require_replaceable`; with it the folder gets no marker.

    Raises:
        InputError: something else is there.
        OutputError: the disk is full or the folder cannot be written.
    """
    with explain_os_errors(path):
        require_replaceable(path, ours)
        path.parent.mkdir(parents=True, exist_ok=True)
        working = path.parent / f".{path.name}.partial"
        for old in (path, working):
            _remove(old)
        working.mkdir()
        try:
            yield working
            if ours is None:
                (working / MARKER).write_text(_MARK + _changes(), encoding="utf-8")
            open_to_others(working)
            working.rename(path)
            _fsync_dir(path.parent)
        finally:
            if working.exists():
                shutil.rmtree(working, ignore_errors=True)


@contextmanager
def replaced_folder(path: Path, kind: str | None = None, ours: Ours | None = None) -> Iterator[Path]:
    """Give an empty working folder beside `path`, which takes its place when it is complete; until then the old stays.

    For what a person asked for by a command and may not be able to make again; `fresh_folder` is for stages.

    Args:
        path: of the folder. What is there has to be of the same kind, or empty.
        kind: what the folder holds, such as `search page`; its marker says so.
        ours: says of a folder whether it is one that may be replaced, in place of a marker.

    Raises:
        InputError: something else is there.
        OutputError: the disk is full or the folder cannot be written.
    """
    with explain_os_errors(path):
        working, old = (path.parent / f".{path.name}.{name}" for name in ("partial", "replaced"))
        if old.is_dir() and not path.exists():  # a process was killed between the two steps below
            old.rename(path)
        require_replaceable(path, ours if kind is None else is_kind(kind))
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in (working, old):
            _remove(left)
        working.mkdir()
        try:
            yield working
            if kind is not None:
                (working / MARKER).write_text(f"{_MARK}{_KIND}{kind}\n{_changes()}", encoding="utf-8")
            open_to_others(working)
            if path.exists():
                path.rename(old)
            working.rename(path)
            _fsync_dir(path.parent)
            _remove(old)
        finally:
            if working.exists():
                shutil.rmtree(working, ignore_errors=True)
