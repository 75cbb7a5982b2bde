"""Folders of clones by what they are for: kept for the next attempt, used by one at a time, cleaned up by age."""

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

from flows.dvc.failures import StageFailed, Unavailable
from umgclip.errors import DataError, GateError, InputError, UmgclipError

WORKER_FOLDER = "UMGCLIP_WORKER_DIR"
_STALE_S = 7 * 86_400
_SAME = 16
_HOPELESS = {InputError.exit_code, DataError.exit_code, GateError.exit_code}


def worker_folder() -> Path:
    """Where clones lie, and a worker's DVC cache: `UMGCLIP_WORKER_DIR`, or the user's cache folder."""
    chosen = os.environ.get(WORKER_FOLDER, "").strip()
    return Path(chosen).expanduser().resolve() if chosen else Path.home() / ".cache" / "umgclip"


@contextmanager
def claimed_folder(folder: Path, *purpose: Any) -> Iterator[Path]:  # noqa: ANN401 - what JSON can hold
    """A folder for one purpose, ours until the end.

    After a success it goes, and so it does after a failure that a repetition of the same cannot mend. Else it stays:
    the next attempt with the same purpose gets it with all that is in it. Two at once get two. What nobody has used for
    a week is removed.

    Args:
        folder: where such places are.
        purpose: what tells one from another.

    Raises:
        Unavailable: too many at once.
    """
    key = hashlib.sha256(json.dumps(purpose, sort_keys=True, default=str).encode()).hexdigest()[:16]
    _clean_up(folder)
    for number in range(_SAME):
        own = folder / f"{key}-{number}"
        with _claimed(own) as ours:
            if not ours:
                continue
            try:
                yield own
            except UmgclipError as error:
                if _hopeless(error):
                    shutil.rmtree(own, ignore_errors=True)
                raise
            shutil.rmtree(own, ignore_errors=True)
            return
    raise Unavailable(f"{folder}: expected a free place {key}, all {_SAME} are in use")


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
    """Whether the folder is ours for the time being; a dead process owns nothing."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if not _is(folder / "lock", lock.fileno()):  # its last owner has removed the folder meanwhile
                continue
            os.utime(folder)
            yield True
            return


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
