"""The way out of a command: one line on stderr and an exit code that says what kind of failure it was."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from umgclip.cli.lines import say
from umgclip.errors import DataError, OutputError, UmgclipError
from umgclip.io.atomic import disk_trouble

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def run(command: Callable[[], None], name: str) -> int:
    """Run a command and give its exit code.

    Args:
        command: what to do; Typer ends it with `SystemExit`.
        name: what stands before a message, as `umgclip train`.
    """
    asked = _StopAsked()
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        return _interrupted(name) if code == INTERRUPTED or (asked and code) else code
    except KeyboardInterrupt:
        return _interrupted(name)
    except Exception as error:
        # native code that calls Python hands a KeyboardInterrupt on as an error of its own, as pydantic's serializer
        if asked:
            return _interrupted(name)
        said = _explained(name, error)
        if said is None:
            raise
        return said
    return 0


def _explained(name: str, error: Exception) -> int | None:
    """The exit code of what people can mend, said in one line; None: only its traceback helps."""
    if isinstance(error, UmgclipError):
        say(f"{name}: {error}")
        return error.exit_code
    if isinstance(error, PermissionError) and error.filename:
        say(f"{name}: no permission to open {error.filename}")
        return DataError.exit_code
    trouble = disk_trouble(error)
    if trouble is None:
        return None
    place = error.filename if isinstance(error, OSError) else None
    say(f"{name}: cannot write {place or 'the output'}: {trouble}")
    return OutputError.exit_code


def _interrupted(name: str) -> int:
    say(f"{name}: interrupted; run again to go on")
    return INTERRUPTED


class _StopAsked:
    """SIGTERM and Ctrl-C end a stage in the same way, so that its working folders are cleaned up. True once asked."""

    def __init__(self) -> None:
        self._asked = False
        signal.signal(signal.SIGTERM, self._interrupt)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored by what runs it in the background
            signal.signal(signal.SIGINT, self._interrupt)

    def __bool__(self) -> bool:
        return self._asked

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
        raise KeyboardInterrupt
