"""Manage background processes that a later command can find and end without touching any other process.

A pid alone does not identify a process, because the system reuses pids. So the record of a process also contains its
kernel start time, and its descendants are identified by a variable in their environment.
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
    """A server to run: its command, the port that must be free (None: no port), and its readiness check.

    `ready_s` is the time limit for the readiness check. `user` is the account to run it as, for root only.
    `quit_signal` asks it to end; after `grace_s` seconds it is killed. It runs in `cwd`, by default the current folder.
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
    """The record of a started process; `started` distinguishes it from a later one with the same pid."""

    name: str
    pid: int
    started: str
    port: int | None
    quit_signal: int
    grace_s: float


class Ledger:
    """The processes started from one folder, recorded in its file `processes.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "processes.json"

    def records(self) -> dict[str, Record]:
        """Return the records of all started processes by name, in start order."""
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
        """Return the records whose process is still running."""
        return {name: record for name, record in self.records().items() if is_alive(record)}

    def log(self, name: str) -> Path:
        """Return the path of a process's log."""
        return self.folder / "logs" / f"{name}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock against other commands for the duration of the block.

        Raises:
            InputError: another command holds the lock.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"{self.folder}: another `make up` or `make down` is running; wait for it") from error
            yield

    def start(self, service: Service, environment: Mapping[str, str]) -> Record:
        """Start a process in its own session, record it and return the record.

        Args:
            service: what to run.
            environment: variables in addition to those of this process and of the service.

        Raises:
            ServiceError: the process ended at once.
        """
        log = self.log(service.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        # readable by its owner only: servers write addresses and errors there, which may contain secrets
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
                # only its login protects a server's data; files of a worker follow the user's umask
                umask=0o077 if service.port is not None else -1,
            )
        started = kernel_start(process.pid)
        if started is None:
            raise ServiceError(f"{service.name}: ended at once; {tail(log)}")
        record = Record(service.name, process.pid, started, service.port, service.quit_signal, service.grace_s)
        self._write({**self.records(), service.name: record})
        return record

    def wait(self, service: Service, record: Record) -> None:
        """Wait until a started service answers.

        Raises:
            ServiceError: the service ended or does not answer in time; has the end of its log.
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
        """End a process and its descendants, and delete its record.

        Returns:
            Whether there was anything left to end.
        """
        ended = self.end(record)
        self._write({name: other for name, other in self.records().items() if name != record.name})
        return ended

    def end(self, record: Record) -> bool:
        """End a process and its descendants but keep its record, for a process that will be restarted.

        Raises:
            ServiceError: a process does not end.
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
        """End all processes, the last started first, and return the names of those that were running."""
        return [record.name for record in reversed(self.records().values()) if self.stop(record)]

    def _mark(self, name: str) -> str:
        return f"{name}@{self.folder.resolve()}"

    def _marked(self, name: str) -> Iterator[psutil.Process]:
        """Yield the processes of a service and their descendants."""
        mark = self._mark(name)
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                    yield process

    def _write(self, records: Mapping[str, Record]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._file, [asdict(record) for record in records.values()])


def _inherited(service: Service) -> dict[str, str]:
    """Return this process's variables; another account gets only those that cannot contain a secret."""
    return {
        name: value
        for name, value in os.environ.items()
        if service.user is None or name in _HARMLESS or name.startswith("LC_")
    }


def is_alive(record: Record) -> bool:
    """Return whether the recorded process itself still runs; a zombie does not."""
    return kernel_start(record.pid) == record.started


def kernel_start(pid: int) -> str | None:
    """Return the start time of a process as counted by the kernel; None if there is no such running process."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if sys.platform != "linux":
            return f"{process.create_time():.2f}"
        # unlike the time of day, ticks since boot do not change when the clock is set
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
    return f"{boot}:{fields[19]}"


def check_port(service: Service, variable: str) -> None:
    """Check that the service's port is free.

    Args:
        service: the service that will listen.
        variable: the environment variable that sets its port, for the message.

    Raises:
        InputError: another process listens there; names it if the system does.
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
                f"stop that process, or set {variable} to another port"
            ) from error


def _holder(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def group_of(user: str) -> int:
    """Return the id of an account's primary group."""
    import pwd

    return pwd.getpwnam(user).pw_gid


def tail(log: Path) -> str:
    """Return the end of a log for an error message."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:] if log.is_file() else []
    return "\n  ".join([f"the end of {log}:", *lines]) if lines else f"{log} is empty"


def _wait_gone(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for processes to end, and return those that still run after the timeout; zombies count as ended."""
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
