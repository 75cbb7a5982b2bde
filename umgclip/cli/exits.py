"""The way out of a command: one line on stderr and an exit code that says what kind of failure it was."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from types import FrameType

from umgclip.cli.lines import say
from umgclip.errors import DataError, OutputError, UmgclipError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_DISK = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "disk quota used up",
    errno.EROFS: "the file system is read-only",
}
_FULL_DISK = "No space left on device"


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
    reason = _disk_trouble(error)  # libraries wrap a full disk in errors of their own
    if reason is None:
        return None
    say(f"{name}: {reason}")
    return OutputError.exit_code


def _interrupted(name: str) -> int:
    say(f"{name}: interrupted; run again to go on")
    return INTERRUPTED


def _disk_trouble(error: Exception) -> str | None:
    number = error.errno if isinstance(error, OSError) else None
    if number in _DISK:
        assert isinstance(error, OSError)  # noqa: S101 - for the type checker
        return f"cannot write {error.filename or 'the output'}: {_DISK[number]}"
    return f"cannot write the output: {_DISK[errno.ENOSPC]} ({error})" if _FULL_DISK in str(error) else None


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
