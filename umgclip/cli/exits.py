"""The end of a command: one line on stderr, and an exit code that tells the kind of failure."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType

import typer

from umgclip import extras
from umgclip.cli.habits import output
from umgclip.cli.habits.usage import WRONG_USAGE, in_words
from umgclip.cli.lines import say
from umgclip.errors import DataError, InputError, MissingPackageError, OutputError, UmgclipError
from umgclip.io.atomic import disk_trouble

INTERRUPTED = 130  # 128 + SIGINT, as in shells


def run(command: Callable[[], object], name: str) -> int:
    """Run a command and return its exit code.

    Args:
        command: the command, which returns its exit code, or ends with `SystemExit`; anything else is success.
        name: prefix of messages, such as `umgclip train`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that a terminal's encoding lacks end no command
    stop = _StopRequest()
    try:
        answer = command()
        code = answer if isinstance(answer, int) else 0
        return _interrupted(name) if code == INTERRUPTED or (stop and code) else code
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        return _interrupted(name) if code == INTERRUPTED or (stop and code) else code
    except KeyboardInterrupt:
        return _interrupted(name)
    except Exception as error:
        # native code that calls Python, such as pydantic's serializer, wraps a KeyboardInterrupt in an error of its own
        if stop:
            return _interrupted(name)
        code_of_error = _report(name, error)
        if code_of_error is None:
            raise
        return code_of_error


def _report(name: str, error: Exception) -> int | None:
    """Print an error that the user can fix as one line and return its exit code; None if only a traceback helps."""
    if output.current().verbose:
        say("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, WRONG_USAGE):
        if (message := in_words(error)) is not None:
            context = getattr(error, "ctx", None)
            say(f"{name if context is None else context.command_path}: {message}")
        return InputError.exit_code
    if isinstance(error, typer.Abort):
        say(f"{name}: stopped, because a question was not answered")
        return 1
    command = f"umgclip {output.current().command}" if output.current().command else name
    if (line := extras.lacking(command, error)) is not None:
        say(line)
        return MissingPackageError.exit_code
    if isinstance(error, MissingPackageError):
        say(f"{error}")
        return error.exit_code
    if isinstance(error, UmgclipError):
        say(f"{command}: {error}")
        return error.exit_code
    if isinstance(error, PermissionError) and error.filename:
        say(f"{command}: no permission to open {error.filename}")
        return DataError.exit_code
    trouble = disk_trouble(error)
    if trouble is None:
        return None
    path = error.filename if isinstance(error, OSError) else None
    say(f"{command}: cannot write {path or 'the output'}: {trouble}")
    return OutputError.exit_code


def _interrupted(name: str) -> int:
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # else the process that started this one says it, once for all
        say(f"{name}: interrupted; run it again to continue")
    return INTERRUPTED


class _StopRequest:
    """Handler that makes SIGTERM end a command as Ctrl-C does, so that working folders are cleaned up.

    It is true once one of the two signals has arrived.
    """

    def __init__(self) -> None:
        self._requested = False
        signal.signal(signal.SIGTERM, self._interrupt)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # shells ignore it for background jobs
            signal.signal(signal.SIGINT, self._interrupt)

    def __bool__(self) -> bool:
        return self._requested

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self._requested = True
        raise KeyboardInterrupt
