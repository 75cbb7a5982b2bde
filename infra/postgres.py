"""Manage this checkout's PostgreSQL: find the programs, create the cluster and its databases, and start it."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.processes import LOOPBACK, Service, ServiceError, group_of
from umgclip.errors import InputError

ADMIN = "umgclip"
_PROGRAMS = ("initdb", "postgres", "pg_isready")
_DEBIAN = Path("/usr/lib/postgresql")
_ACCOUNTS = ("postgres", "nobody")
_INIT_S = 120


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL installation and the folder of a database cluster; `user` is the account to use if root runs it."""

    programs: Path
    folder: Path
    port: int
    user: str | None

    @property
    def password(self) -> str:
        """The password of the cluster's only account."""
        return (self.folder / "password").read_text(encoding="utf-8").strip()

    def url(self, driver: str, database: str) -> str:
        """Return an SQLAlchemy URL with an explicit driver, because the default driver changes between releases."""
        return f"postgresql+{driver}://{ADMIN}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def service(self) -> Service:
        """Return the server process, on loopback only and without a socket file, whose path could be too long."""
        options = {"listen_addresses": LOOPBACK, "port": str(self.port), "unix_socket_directories": ""}
        settings = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        return Service(
            name="postgres",
            command=(str(self.programs / "postgres"), "-D", str(self._data), *settings),
            ready=partial(_answers, self.programs / "pg_isready", self.port),
            port=self.port,
            cwd=self.folder,
            user=self.user,
            quit_signal=signal.SIGINT,  # SIGTERM would wait for all clients to disconnect
        )

    def make(self) -> bool:
        """Initialise the cluster unless it exists.

        Returns:
            Whether it was created now.

        Raises:
            InputError: it exists, but was created by another version of PostgreSQL.
            ServiceError: `initdb` failed.
        """
        version = self._data / "PG_VERSION"
        if version.is_file():
            have, need = _major(self.programs), version.read_text(encoding="utf-8").strip()
            if have != need:
                raise InputError(
                    f"{self._data}: expected the programs of PostgreSQL {need}, which created it, found {have} in "
                    f"{self.programs}; install {need}, or move the folder away to start anew"
                )
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24) + "\n", encoding="utf-8")
        for path in (self.folder, password):
            if self.user is not None:
                shutil.chown(path, self.user, group_of(self.user))
        done = _run_as(
            self.user,
            str(self.programs / "initdb"), "--pgdata", str(self._data), "--username", ADMIN, "--pwfile", str(password),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
            cwd=self.folder,
        )  # fmt: skip
        if done.returncode != 0:
            raise ServiceError(f"initdb: exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return True

    def ensure(self, databases: Iterable[str]) -> None:
        """Create the databases that do not exist; the server must be running."""
        import psycopg2
        from psycopg2 import sql

        with closing(psycopg2.connect(self.url("x", "postgres").replace("+x", ""), connect_timeout=10)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT datname FROM pg_database")
                have = {name for (name,) in cursor.fetchall()}
                for name in databases:
                    if name not in have:
                        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    @property
    def _data(self) -> Path:
        return self.folder / "data"


def find(state: Path, port: int) -> Cluster | None:
    """Return the cluster of a state folder, or None if PostgreSQL is not installed.

    PostgreSQL refuses to run as root. Root runs it as another account, in the state folder if that account can access
    it, else in `/var/tmp`.

    Args:
        state: folder in which the servers of this checkout store their data.
        port: port of the server.
    """
    programs = _programs()
    if programs is None:
        return None
    user = None if os.geteuid() != 0 else _account()
    folder = state / "postgres"
    if user is not None and not _can_enter(user, state):
        digest = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]
        folder = Path("/var/tmp") / f"umgclip-postgres-{digest}"  # noqa: S108 - unique to the checkout, owned by `user`
        if folder.exists() and folder.stat().st_uid != pwd.getpwnam(user).pw_uid:
            raise InputError(
                f"{folder}: expected a folder of the account {user}, got uid {folder.stat().st_uid}; remove it"
            )
    return Cluster(programs, folder, port, user)


def _programs() -> Path | None:
    """Return the folder of the server's programs: from the path, or the newest in Debian's folder."""
    program = shutil.which("postgres")
    debian = (
        sorted(_DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
        if _DEBIAN.is_dir()
        else []
    )
    for folder in [*([Path(program).resolve().parent] if program else []), *debian]:
        if all((folder / name).is_file() for name in _PROGRAMS):
            return folder
    return None


def _account() -> str:
    for name in _ACCOUNTS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise InputError(
        f"PostgreSQL does not run as root: expected one of the accounts {', '.join(_ACCOUNTS)}, found none; create one"
    )


def _can_enter(user: str, folder: Path) -> bool:
    """Return whether an account may enter a folder, which is created if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return _run_as(user, "test", "-x", str(folder.resolve()), cwd=Path("/")).returncode == 0


def _run_as(user: str | None, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - commands of this module
        command,
        cwd=cwd,
        user=user,
        group=None if user is None else group_of(user),
        extra_groups=None if user is None else [],
        capture_output=True,
        text=True,
        timeout=_INIT_S,
        check=False,
    )


def _major(programs: Path) -> str:
    printed = _run_as(None, str(programs / "postgres"), "--version", cwd=Path("/")).stdout
    return printed.split()[2].split(".")[0]


def _answers(program: Path, port: int) -> bool:
    return (
        _run_as(None, str(program), "--quiet", "--host", LOOPBACK, "--port", str(port), cwd=Path("/")).returncode == 0
    )
