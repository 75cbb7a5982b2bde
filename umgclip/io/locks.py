"""One writer at a time for each output; a lock ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.atomic import explain_os_errors

_log = logging.getLogger(__name__)


@contextmanager
def only_writer(path: Path, where: str = "--out") -> Iterator[None]:
    """Keep other processes of this machine from writing an output, by a lock on the file `.NAME.lock` next to it.

    The file is deleted with the lock; one that a killed process leaves behind locks nothing.

    Args:
        path: the output, a file or a folder; it need not exist.
        where: the option that names it, for the error.

    Raises:
        InputError: another process has the lock; names it.
        OutputError: no file can be made there.
    """
    output = path.resolve()
    file = output.parent / f".{output.name}.lock"
    made = [folder for folder in output.parents if not folder.exists()]
    with explain_os_errors(path):
        handle = _locked(file, path, where)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # still locked: a process that waits for it notices by `_is_at`
        os.close(handle)
        _remove_empty(made)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that were made for a lock and hold nothing, the innermost first."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _locked(file: Path, path: Path, where: str) -> int:
    """Open and lock a file that still has its name once it is locked."""
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # its last owner removed the empty folder just now
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            os.close(handle)
            who = f"process {owner}" if owner else "another process"
            raise InputError(f"{where}: {who} is at work on {path}; wait for it, or name another place") from error
        except OSError as error:  # a file system without locks
            _log.warning("%s: cannot be locked (%s); nothing else should write it now", path, error.strerror)
        if _is_at(handle, file):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            return handle
        os.close(handle)


def _is_at(handle: int, file: Path) -> bool:
    """Return whether a path still leads to an open file: its last owner may have deleted it."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False
