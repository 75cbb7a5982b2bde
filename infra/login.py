"""The login of the servers that `make up` starts, created once and stored in a file that only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from umgclip.errors import InputError

USER = "umgclip"
USERS = "mlflow-users.db"  # MLflow's user database in the state folder
_FILE = "login.json"


@dataclass(frozen=True)
class Login:
    """One password for Prefect and MLflow, a key pair for S3, and the secret that signs MLflow's forms."""

    password: str
    s3_key: str
    s3_secret: str
    mlflow_secret: str

    @property
    def prefect(self) -> str:
        """The auth string of Prefect's server and clients, which its web page requests too."""
        return f"{USER}:{self.password}"


def login_file(state: Path) -> Path:
    """Return the path of a state folder's login file."""
    return state / _FILE


def login_of(state: Path) -> Login:
    """Return the login of a state folder, and create it on the first call.

    Raises:
        InputError: others can read the file, or it has other content.
    """
    path = login_file(state)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _make(state)
    except OSError as error:
        problem = "a link" if path.is_symlink() else error.strerror
        raise InputError(f"{path}: expected a file, got {problem}; delete it") from error
    with os.fdopen(handle, encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise InputError(
                f"{path}: expected a file that its owner, uid {os.geteuid()}, alone can read (mode 0600), got uid "
                f"{status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}; run `make down`, delete it, then `make up`"
            )
        try:
            return Login(**json.load(file))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}: expected a login, got {error}; run `make down`, delete it, then `make up`"
            ) from error


def _make(state: Path) -> Login:
    made = Login(*(secrets.token_urlsafe(24) for _ in range(4)))
    state.mkdir(parents=True, exist_ok=True)
    # MLflow's first user has the password of the old login, and does not change it at the next start
    (state / USERS).unlink(missing_ok=True)
    partial = login_file(state).with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(made), file)
    partial.rename(login_file(state))
    return made
