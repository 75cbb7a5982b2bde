"""Run a command that ends together with the process that started it: `python guard.py GRACE_S COMMAND...`.

Standard input is a pipe from the parent process, which writes nothing. The pipe closes when the parent closes it or
dies, even by kill -9. Then the command and all its descendants get SIGTERM, and SIGKILL after the grace period. The
same happens to processes that a command leaves behind. The exit code is the command's, 128 + N for signal N.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36
_KILL_WAIT_S = 5.0
_NOT_FOUND = 127


class _Family:
    """A process group and the descendants that have left the group."""

    def __init__(self, command: list[str]) -> None:
        null = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        self.code: int | None = None
        self._head = os.posix_spawnp(command[0], command, os.environ, file_actions=null, setpgroup=0)

    def reap(self) -> None:
        """Collect the exit codes of ended children, including adopted orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._head:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code

    def end(self, grace_s: float) -> None:
        """Send SIGTERM to each process once, and SIGKILL to those left after the grace period."""
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, _KILL_WAIT_S)):
            told: set[int] = set()
            deadline = time.monotonic() + wait_s
            while time.monotonic() < deadline:
                self.reap()
                if not self._alive():
                    return
                self._tell(number, told)
                time.sleep(0.02)

    def _alive(self) -> bool:
        return _signalled(-self._head, 0) or any(True for _ in _children())

    def _tell(self, number: int, told: set[int]) -> None:
        for target in (-self._head, *_children()):
            in_group = target > 0 and _group(target) == self._head
            if target not in told and not in_group:
                told.add(target)
                _signalled(target, number)


def _signalled(target: int, number: int) -> bool:
    """Send a signal to a process, or to a group given as a negative number; return False if it does not exist."""
    try:
        os.kill(target, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _children() -> Iterator[int]:
    """Yield the children of this process, including adopted orphans; nothing if the system does not list them."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    try:
        yield from map(int, path.read_text(encoding="ascii").split())
    except OSError:
        return


def _adopt_orphans() -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wake_on_signals() -> int:
    """Return a descriptor that becomes readable at each signal, so that waiting needs no polling."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def main() -> int:
    """Run the command until it ends or this process is asked to end; return the exit code."""
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    woken = _wake_on_signals()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    _adopt_orphans()
    try:
        family = _Family(command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_FOUND
    while family.code is None and not asked:
        ready, _, _ = select.select([0, woken], [], [])
        if 0 in ready:
            break
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 512)
        family.reap()
    family.end(grace_s)
    return 128 + signal.SIGTERM if family.code is None else family.code


if __name__ == "__main__":
    sys.exit(main())
