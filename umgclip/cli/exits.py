"""The way out of a command: one line on stderr and an exit code that says what kind of failure it was."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable
from types import FrameType

from umgclip.errors import OutputError, UmgclipError

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
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        if code == INTERRUPTED:
            _say(name, "interrupted; run again to go on")
        return code
    except KeyboardInterrupt:
        _say(name, "interrupted; run again to go on")
        return INTERRUPTED
    except UmgclipError as error:
        _say(name, str(error))
        return error.exit_code
    except Exception as error:
        # libraries wrap a full disk in errors of their own; whatever else it is, its traceback is wanted
        reason = _disk_trouble(error)
        if reason is None:
            raise
        _say(name, reason)
        return OutputError.exit_code
    return 0


def _disk_trouble(error: Exception) -> str | None:
    number = error.errno if isinstance(error, OSError) else None
    if number in _DISK:
        assert isinstance(error, OSError)  # noqa: S101 - for the type checker
        return f"cannot write {error.filename or 'the output'}: {_DISK[number]}"
    return f"cannot write the output: {_DISK[errno.ENOSPC]} ({error})" if _FULL_DISK in str(error) else None


def _say(name: str, message: str) -> None:
    sys.stderr.write(f"{name}: {message}\n")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a stage as Ctrl-C does: its working folders are cleaned up."""
    raise KeyboardInterrupt
