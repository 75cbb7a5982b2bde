"""Lines for people, on stderr and in logs: nothing in them commands the terminal or tells a password or key."""

from __future__ import annotations

import logging
import sys

from umgclip.safe_text import printable, without_secrets


def say(message: str, *, as_result: bool = False) -> None:
    """A line, or several, on stderr; on stdout where it is a command's result."""
    stream = sys.stdout if as_result else sys.stderr
    shown = message if as_result else without_secrets(message)  # a result is for programs too
    line = f"{printable(shown, lines=True)}\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))


class PlainFormatter(logging.Formatter):
    """Log lines that command no terminal and tell no keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return printable(without_secrets(super().format(record)), lines=True)
