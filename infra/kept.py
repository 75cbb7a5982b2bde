"""What `make up` keeps for the commands after it: which ports and servers were chosen, and folders for what passes."""

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
    """What the environment of `make up` said: ports by server, an S3 server of one's own, SQLite for PostgreSQL."""

    ports: Mapping[str, int]
    s3_endpoint: str | None
    sqlite: bool


def remember(state: Path, choice: Choice) -> None:
    """Write down what runs from now on."""
    state.mkdir(parents=True, exist_ok=True)
    write_json(state / _FILE, asdict(choice))


def recall(state: Path) -> Choice | None:
    """What runs, or was left by a crash; None after `make down`.

    Raises:
        InputError: the file holds something else.
    """
    path = state / _FILE
    try:
        return Choice(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: expected what `make up` has chosen, got {error}; delete it") from error


def forget(state: Path) -> None:
    """Nothing runs any more."""
    (state / _FILE).unlink(missing_ok=True)


def scratch(state: Path, name: str) -> Path:
    """Where a worker and its flow runs put temporary files; short, as paths of sockets lie below it."""
    digest = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"umgclip-{digest}-{name}"


def empty(folder: Path) -> None:
    """Make a folder for temporary files, without what killed runs have left in it.

    Raises:
        InputError: somebody else made it.
    """
    remove(folder)
    folder.mkdir(mode=0o700)


def remove(folder: Path) -> None:
    """Remove a folder for temporary files, if it is ours.

    Raises:
        InputError: somebody else made it.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise InputError(f"{folder}: expected a folder of uid {os.geteuid()}, got one of uid {found.st_uid} or a link")
    shutil.rmtree(folder)
