"""Files and folders that appear whole or not at all: temporary name, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from umgclip.errors import OutputError


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


@contextmanager
def explain_os_errors(target: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into an `OutputError` that names the path."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "no space left on the disk",
            errno.EDQUOT: "disk quota used up",
            errno.EACCES: "no permission to write there",
            errno.EPERM: "no permission to write there",
            errno.EROFS: "the file system is read-only",
            errno.ENOTDIR: "a part of the path is a file, not a folder",
            errno.EEXIST: "a file of that name is in the way",
        }
        if error.errno not in reasons:
            raise
        raise OutputError(f"cannot write {target}: {reasons[error.errno]}") from error


def _fsync_dir(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success fsync it and rename it over `path`, on failure remove it.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
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


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """Give an empty working folder beside `path`; on success it takes `path`'s place, on failure `path` is gone.

    A stage that dies leaves no output that a later run would trust: the old one is removed first, and the new one
    has its final name only when it is complete.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        working = path.parent / f".{path.name}.partial"
        for old in (path, working):
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)
        working.mkdir()
        try:
            yield working
            working.rename(path)
            _fsync_dir(path.parent)
        finally:
            if working.exists():
                shutil.rmtree(working, ignore_errors=True)
