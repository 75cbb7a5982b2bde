"""What Ray needs of a machine that it has to itself: settings in the environment, and a folder that goes with it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX, _LOCK = "umgclip-ray-", "lock"
_LONGEST = 30  # characters of the folder above; the names of Ray's sockets add 75, and 107 is the most
_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # without it Ray listens on all interfaces
    "RAY_AUTH_MODE": "token",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def set_environment(alone: bool) -> None:
    """Set what Ray reads when it is imported; what is set already stays.

    Args:
        alone: Ray starts on this machine, for this process only.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if alone:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        # without one of our own Ray leaves one in the home folder
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@contextmanager
def session_folder() -> Iterator[Path]:
    """A folder with a short name for Ray's sockets and logs, gone at the end.

    Folders of processes that were killed go too: what a process that lives uses, it keeps locked.
    """
    root = Path(tempfile.gettempdir())
    root = root if len(str(root)) <= _LONGEST else Path("/tmp")  # noqa: S108 - mkdtemp below makes it ours
    for old in root.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with _locked(old):
                shutil.rmtree(old.parent, ignore_errors=True)
        except OSError:
            continue  # in use, or another user's
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    try:
        with _locked(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
