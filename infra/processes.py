"""Processes in the background that a later command finds again, and ends, without ever touching another one.

A pid alone proves nothing: the system gives it to somebody else once its process has ended. So the record of a process
holds when the kernel started it as well, and whatever it starts in turn is known by a variable in its environment.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from umgclip.errors import InputError, UmgclipError
from umgclip.io.atomic import write_json

MARK = "UMGCLIP_SERVICE"
LOOPBACK = "127.0.0.1"
_HARMLESS = ("PATH", "LANG", "TZ")
_POLL_S = 0.2
_TAIL_LINES = 15


class ServiceError(UmgclipError):
    """A server did not start, or does not answer."""

    exit_code = 7


@dataclass(frozen=True)
class Service:
    """A server to run: its command, the port that must be free (None: it has none), and how to ask whether it answers.

    `ready_s` is how long it may take to answer. `user` runs it as that account, for root only. `quit_signal` asks it
    to end; after `grace_s` seconds it is killed. It runs in `cwd`, by default that of the command that starts it.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ready_s: float = 90.0
    user: str | None = None
    quit_signal: int = signal.SIGTERM
    grace_s: float = 20.0


@dataclass(frozen=True)
class Record:
    """What is written down of a started process; `started` tells it from a later one with the same pid."""

    name: str
    pid: int
    started: str
    port: int | None
    quit_signal: int
    grace_s: float


class Ledger:
    """The processes that were started from one folder, kept in its file `processes.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "processes.json"

    def records(self) -> dict[str, Record]:
        """What was started, by name, in the order of starting."""
        if not self._file.is_file():
            return {}
        try:
            entries = json.loads(self._file.read_text(encoding="utf-8"))
            return {entry["name"]: Record(**entry) for entry in entries}
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{self._file}: expected a list of processes, got {error!r}; delete it once none runs"
            ) from error

    def running(self) -> dict[str, Record]:
        """Those whose process is still there."""
        return {name: record for name, record in self.records().items() if is_alive(record)}

    def log(self, name: str) -> Path:
        """Where a process writes what it prints."""
        return self.folder / "logs" / f"{name}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second command out while this one changes something.

        Raises:
            InputError: another one is at work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"{self.folder}: another `make up` or `make down` is at work; wait for it") from error
            yield

    def start(self, service: Service, environment: Mapping[str, str]) -> Record:
        """Start a process in a session of its own and write it down.

        Args:
            service: what to run.
            environment: variables beside this process's own and the service's.

        Raises:
            ServiceError: it ended at once.
        """
        log = self.log(service.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        # for its owner's eyes: servers write addresses and errors there, which may hold secrets
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
            process = subprocess.Popen(  # noqa: S603 - commands of this package
                service.command,
                cwd=service.cwd,
                env={**_inherited(service), **environment, **service.environment, MARK: self._mark(service.name)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=service.user,
                group=None if service.user is None else group_of(service.user),
                extra_groups=None if service.user is None else [],
                # what a server keeps is for whom it lets in, what a worker makes is for whom the user's umask says
                umask=0o077 if service.port is not None else -1,
            )
        started = kernel_start(process.pid)
        if started is None:
            raise ServiceError(f"{service.name}: ended at once; {tail(log)}")
        record = Record(service.name, process.pid, started, service.port, service.quit_signal, service.grace_s)
        self._write({**self.records(), service.name: record})
        return record

    def wait(self, service: Service, record: Record) -> None:
        """Return once a started service answers.

        Raises:
            ServiceError: it ended, or does not answer in time; with the end of its log.
        """
        deadline = time.monotonic() + service.ready_s
        while not service.ready():
            if not is_alive(record):
                raise ServiceError(f"{service.name}: ended while starting; {tail(self.log(service.name))}")
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{service.name}: expected an answer within {service.ready_s:.0f} s, got none; "
                    f"{tail(self.log(service.name))}"
                )
            time.sleep(_POLL_S)

    def stop(self, record: Record) -> bool:
        """End a process and all that it started, and strike it from the list.

        Returns:
            Whether there was anything left to end.
        """
        ended = self.end(record)
        self._write({name: other for name, other in self.records().items() if name != record.name})
        return ended

    def end(self, record: Record) -> bool:
        """The same, but it keeps its place in the list, for one that will be started again.

        Raises:
            ServiceError: something does not end.
        """
        leader = psutil.Process(record.pid) if is_alive(record) else None
        if leader is not None:
            with suppress(psutil.NoSuchProcess):
                leader.send_signal(record.quit_signal)
            _wait_gone([leader], record.grace_s)
        rest = list(self._marked(record.name))
        for process in rest:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in _wait_gone(rest, record.grace_s / 4):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        left = _wait_gone(rest, record.grace_s / 4)
        if left:
            raise ServiceError(f"{record.name}: processes {[process.pid for process in left]} do not end")
        return leader is not None or bool(rest)

    def stop_all(self) -> list[str]:
        """End everything, the last started first; the names of what there was to end."""
        return [record.name for record in reversed(self.records().values()) if self.stop(record)]

    def _mark(self, name: str) -> str:
        return f"{name}@{self.folder.resolve()}"

    def _marked(self, name: str) -> Iterator[psutil.Process]:
        """Processes that were started by a service, or by what it started."""
        mark = self._mark(name)
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                    yield process

    def _write(self, records: Mapping[str, Record]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._file, [asdict(record) for record in records.values()])


def _inherited(service: Service) -> dict[str, str]:
    """Our own variables; another account gets none that could hold a secret."""
    return {
        name: value
        for name, value in os.environ.items()
        if service.user is None or name in _HARMLESS or name.startswith("LC_")
    }


def is_alive(record: Record) -> bool:
    """Whether the very process of the record runs (a zombie does not)."""
    return kernel_start(record.pid) == record.started


def kernel_start(pid: int) -> str | None:
    """When the kernel started a process, in its own count; None: no such process, or one that has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if sys.platform != "linux":
            return f"{process.create_time():.2f}"
        # unlike a time of day, ticks since boot do not move when the clock is set
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
    return f"{boot}:{fields[19]}"


def check_port(service: Service, variable: str) -> None:
    """Raise unless the service's port is free.

    Args:
        service: what is about to listen.
        variable: the environment variable that sets its port, for the message.

    Raises:
        InputError: another process listens there; says which where the system tells.
    """
    if service.port is None:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, service.port))
        except OSError as error:
            raise InputError(
                f"{service.name}: expected port {service.port} to be free, it is taken{_holder(service.port)}; "
                f"stop that, or set {variable} to another port"
            ) from error


def _holder(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def group_of(user: str) -> int:
    """The main group of an account."""
    import pwd

    return pwd.getpwnam(user).pw_gid


def tail(log: Path) -> str:
    """The end of a log, for an error message."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:] if log.is_file() else []
    return "\n  ".join([f"the end of {log}:", *lines]) if lines else f"{log} is empty"


def _wait_gone(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that still run after the timeout; zombies count as gone."""
    deadline = time.monotonic() + timeout_s
    left = processes
    while True:
        left = [process for process in left if _runs(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_S / 4)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
