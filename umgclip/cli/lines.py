"""Messages on stderr and in logs, without terminal control sequences, passwords or keys."""

from __future__ import annotations

import logging
import sys
import time

from umgclip.cli.habits import output
from umgclip.safe_text import printable, without_secrets


def say(message: str, *, as_result: bool = False) -> None:
    """Print one or more lines on stderr, or on stdout if they are the result of a command."""
    stream = sys.stdout if as_result else sys.stderr
    shown = message if as_result else without_secrets(message)  # programs read results, so those stay as they are
    line = f"{printable(shown, lines=True)}\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))


def notice(message: str) -> None:
    """Print on stderr what a user should know beside the result, unless the command is to be quiet."""
    if not output.current().quiet:
        say(message)


class PlainFormatter(logging.Formatter):
    """Formatter that removes terminal control sequences and secrets from log lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line that is safe to print, behind the command's age in seconds if it is verbose."""
        running = output.current()
        age = f"[{time.monotonic() - running.started:7.2f} s] " if running.verbose else ""
        return f"{age}{printable(without_secrets(super().format(record)), lines=True)}"
