"""Lines for people, on stderr and in logs: what data say in them never commands the terminal."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from umgclip.plain import printable


def say(message: str, stream: TextIO | None = None) -> None:
    """A line, or several, on a stream; None: stderr."""
    stream = sys.stderr if stream is None else stream
    line = f"{printable(message, lines=True)}\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))


class PlainFormatter(logging.Formatter):
    """Log lines that command no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return printable(super().format(record), lines=True)
