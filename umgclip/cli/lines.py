"""Lines for people, on stderr and in logs: what data say in them never commands the terminal."""

from __future__ import annotations

import logging
import sys

from umgclip.plain import printable


def say(message: str, *, as_result: bool = False) -> None:
    """A line, or several, on stderr; on stdout where it is a command's result."""
    stream = sys.stdout if as_result else sys.stderr
    line = f"{printable(message, lines=True)}\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))


class PlainFormatter(logging.Formatter):
    """Log lines that command no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return printable(super().format(record), lines=True)
