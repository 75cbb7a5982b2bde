"""Settings and a temporary folder for Ray on this machine alone."""

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
_LONGEST = 30  # characters of the parent folder; the names of Ray's sockets add 75, and 107 is the limit
_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # without it Ray listens on all interfaces
    "RAY_AUTH_MODE": "token",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def set_environment(alone: bool) -> None:
    """Set the environment variables that Ray reads when it is imported; existing values stay.

    Args:
        alone: whether Ray starts on this machine for this process only.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # otherwise a thread that still reads rows when the run ends early would start a Ray of its own
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    if alone:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        # without this token Ray writes one into the home folder
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@contextmanager
def session_folder() -> Iterator[Path]:
    """Make a folder with a short name for Ray's sockets and logs, and delete it at the end of the block.

    Folders of killed processes are deleted too: a living process keeps the lock of its folder.
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
