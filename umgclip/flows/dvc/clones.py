"""Manage working folders by purpose: reused by the next attempt, used by one process at a time, removed by age."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from umgclip.errors import DataError, GateError, InputError, UmgclipError
from umgclip.flows.dvc.failures import StageFailed, Unavailable

WORKER_FOLDER = "UMGCLIP_WORKER_DIR"
_STALE_S = 7 * 86_400
_SAME = 16
_HOPELESS = {InputError.exit_code, DataError.exit_code, GateError.exit_code}


def worker_folder() -> Path:
    """Return the folder for clones and a worker's DVC cache: `UMGCLIP_WORKER_DIR`, or one in the user's cache."""
    chosen = os.environ.get(WORKER_FOLDER, "").strip()
    return Path(chosen).expanduser().resolve() if chosen else Path.home() / ".cache" / "umgclip"


@contextmanager
def claimed_folder(folder: Path, *purpose: Any) -> Iterator[Path]:  # noqa: ANN401 - what JSON can hold
    """Yield a folder for one purpose that no other process uses during the block.

    It is removed after a success, and after a failure that a retry cannot fix. Otherwise the next attempt with the same
    purpose gets it with its contents. Concurrent attempts get different folders. Folders that have not been used for a
    week are removed.

    Args:
        folder: the parent folder.
        purpose: values that distinguish one purpose from another.

    Raises:
        Unavailable: too many processes use folders of this purpose.
    """
    key = hashlib.sha256(json.dumps(purpose, sort_keys=True, default=str).encode()).hexdigest()[:16]
    _clean_up(folder)
    for number in range(_SAME):
        candidate = folder / f"{key}-{number}"
        with _claimed(candidate) as ours:
            if not ours:
                continue
            try:
                yield candidate
            except UmgclipError as error:
                if _hopeless(error):
                    shutil.rmtree(candidate, ignore_errors=True)
                raise
            shutil.rmtree(candidate, ignore_errors=True)
            return
    raise Unavailable(f"{folder}: expected a free folder {key}, but all {_SAME} are in use; wait for one to end")


def _hopeless(error: UmgclipError) -> bool:
    return isinstance(error, InputError) or (isinstance(error, StageFailed) and error.exit_code in _HOPELESS)


def _clean_up(folder: Path) -> None:
    for old in folder.glob("*/"):
        with suppress(FileNotFoundError):  # another process cleans up too
            if time.time() - old.stat().st_mtime > _STALE_S:
                with _claimed(old) as ours:
                    if ours:
                        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Lock a folder for the block and yield whether that worked; the lock ends with the process that holds it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if not _is(folder / "lock", lock.fileno()):  # its last owner has removed the folder in the meantime
                continue
            os.utime(folder)
            yield True
            return


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
