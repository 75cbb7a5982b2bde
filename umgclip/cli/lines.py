"""Messages on stderr and in logs, without terminal control sequences, passwords or keys."""

from __future__ import annotations

import logging
import sys

from umgclip.safe_text import printable, without_secrets


def say(message: str, *, as_result: bool = False) -> None:
    """Print one or more lines on stderr, or on stdout if they are the result of a command."""
    stream = sys.stdout if as_result else sys.stderr
    shown = message if as_result else without_secrets(message)  # programs read results, so those stay as they are
    line = f"{printable(shown, lines=True)}\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))


class PlainFormatter(logging.Formatter):
    """Formatter that removes terminal control sequences and secrets from log lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line that is safe to print."""
        return printable(without_secrets(super().format(record)), lines=True)
