"""Store the choices of `make up` (ports and servers) for later commands, and manage its temporary folders."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.atomic import write_json

_FILE = "choice.json"


@dataclass(frozen=True)
class Choice:
    """The choices in the environment of `make up`: ports by server, an external S3 server, SQLite for PostgreSQL."""

    ports: Mapping[str, int]
    s3_endpoint: str | None
    sqlite: bool


def remember(state: Path, choice: Choice) -> None:
    """Store the choices with which the servers now run."""
    state.mkdir(parents=True, exist_ok=True)
    write_json(state / _FILE, asdict(choice))


def recall(state: Path) -> Choice | None:
    """Return the choices of servers that run or that a crash left; None after `make down`.

    Raises:
        InputError: the file has other content.
    """
    path = state / _FILE
    try:
        return Choice(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: expected what `make up` has chosen, got {error}; delete it") from error


def forget(state: Path) -> None:
    """Delete the stored choices, because no server runs any more."""
    (state / _FILE).unlink(missing_ok=True)


def scratch(state: Path, name: str) -> Path:
    """Return the folder for temporary files of a worker; the path is short because socket paths are below it."""
    digest = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"umgclip-{digest}-{name}"


def empty(folder: Path) -> None:
    """Create an empty folder for temporary files, and remove what killed runs have left in it.

    Raises:
        InputError: another user owns the folder.
    """
    remove(folder)
    folder.mkdir(mode=0o700)


def remove(folder: Path) -> None:
    """Remove a folder for temporary files if this user owns it.

    Raises:
        InputError: another user owns the folder.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise InputError(
            f"{folder}: expected a folder of uid {os.geteuid()}, got one of uid {status.st_uid} or a link; remove it"
        )
    shutil.rmtree(folder)
