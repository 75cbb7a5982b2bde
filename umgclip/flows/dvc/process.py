"""Run a command, pass its output on line by line, and end all its descendants when this process stops."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 15.0  # Prefect kills a cancelled flow run 30 s after asking it to stop
_TAIL_LINES = 200
_LOOK_EVERY_S = 1.0
_GUARD = Path(__file__).with_name("guard.py")

OnLine = Callable[[str], None]


def ignore(_line: str) -> None:
    """Ignore a line of output; the default callback."""


@dataclass(frozen=True)
class CommandResult:
    """The exit code of a command (128 + N for signal N) and its last lines of output."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The last lines of output as one text."""
        return "\n".join(self.lines)


@dataclass(frozen=True)
class CommandSettings:
    """The working directory, variables and time limits of a command.

    Attributes:
        cwd: working directory.
        environment: all environment variables.
        timeout_s: seconds after which it is ended; None: no limit.
        grace_s: seconds between SIGTERM and SIGKILL.
    """

    cwd: Path
    environment: Mapping[str, str]
    timeout_s: float | None = None
    grace_s: float = GRACE_S


def run(command: Sequence[str], setting: CommandSettings, on_line: OnLine = ignore) -> CommandResult:
    """Run a command and pass its output, including stderr, to `on_line` line by line.

    Any exception, from `on_line`, a signal handler or Ctrl-C, ends the command and all its descendants before it
    propagates; the death of this process ends them as well.

    Raises:
        TimeoutError: the command took longer than `timeout_s`.
    """
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with _started(command, setting) as process:
        for line in _lines(process, setting.timeout_s):
            tail.append(line)
            on_line(line)
        return CommandResult(process.wait(), tuple(tail))


@contextmanager
def _started(command: Sequence[str], setting: CommandSettings) -> Iterator[subprocess.Popen[bytes]]:
    # -I: Python must not import modules from this folder
    words = [sys.executable, "-I", str(_GUARD), str(setting.grace_s), *command]
    process = subprocess.Popen(  # noqa: S603 - a list, no shell
        words,
        cwd=setting.cwd,
        env=dict(setting.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101 - for the type checker
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(setting.grace_s + 10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def _lines(process: subprocess.Popen[bytes], timeout_s: float | None) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"took longer than {timeout_s:g} s and was ended")
            ended = process.poll() is not None  # checked before reading, so that all output is read
            if selector.select(0 if ended else _LOOK_EVERY_S):
                piece = os.read(process.stdout.fileno(), 1 << 16)
                *whole, pending = (pending + piece).replace(b"\r", b"\n").split(b"\n")
                yield from _texts(whole)
                if piece:
                    continue
                break
            if ended:
                break
    yield from _texts([pending])


def _texts(lines: Sequence[bytes]) -> Iterator[str]:
    for line in lines:
        text = line.decode("utf-8", errors="replace").rstrip()
        if text:
            yield text
