"""The output of the running command: how much it tells, and whether its result is a table or a JSON document.

Results go to stdout, everything else to stderr. There is one running command in a process; the command line resets
this state when it begins, and writes the document when it ends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from umgclip.errors import InputError
from umgclip.safe_text import without_secrets

Volume = Literal["quiet", "normal", "verbose"]
QUIET, VERBOSE = "UMGCLIP_QUIET", "UMGCLIP_VERBOSE"
_LEVELS: dict[Volume, int] = {"quiet": logging.ERROR, "normal": logging.WARNING, "verbose": logging.DEBUG}
_OURS = ("umgclip", "flows")


@dataclass
class CommandOutput:
    """Volume and form of the running command's output.

    Attributes:
        command: its words, such as `data stats`.
        volume: quiet shows results and errors alone, verbose adds what the command does and how long that takes.
        as_json: print one JSON document in place of tables.
        documents: results so far, for the document.
        started: time of its beginning, in seconds of the monotonic clock.
    """

    command: str = ""
    volume: Volume = "normal"
    as_json: bool = False
    documents: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    asked: set[str] = field(default_factory=set)

    @property
    def quiet(self) -> bool:
        """True if only results and errors are shown."""
        return self.volume == "quiet"

    @property
    def verbose(self) -> bool:
        """True if debug lines and tracebacks are shown."""
        return self.volume == "verbose"


_current = CommandOutput()


def current() -> CommandOutput:
    """Return the output of the running command."""
    return _current


def reset() -> CommandOutput:
    """Begin the output of a new command, with the volume that the environment asks for."""
    global _current  # noqa: PLW0603 - one command runs in a process
    _current = CommandOutput()
    for name, volume in ((QUIET, "quiet"), (VERBOSE, "verbose")):
        if os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no"):
            _current.volume = volume  # type: ignore[assignment]
    set_level()
    return _current


def choose(volume: Volume) -> None:
    """Set the volume by an option, which outranks the environment.

    Raises:
        InputError: both options are given.
    """
    _current.asked.add(volume)
    if len(_current.asked) > 1:
        raise InputError("expected --quiet or --verbose, got both; give one of them")
    _current.volume = volume
    set_level()


def set_level() -> None:
    """Let the loggers of this package tell as much as the volume says; those of libraries warn at most."""
    level = _LEVELS[_current.volume]
    logging.getLogger().setLevel(max(level, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(level)


def add(document: Mapping[str, Any]) -> None:
    """Add a result to the document that is printed when the command ends, if it is asked for one."""
    if _current.as_json:
        _current.documents.append(dict(document))


def write() -> None:
    """Write the results so far as one JSON document on stdout, if the command was asked for one and has any.

    A single result is the document itself, several are its `tables`. Values that JSON lacks become texts, and numbers
    that are not finite `null`.
    """
    if not _current.as_json or not _current.documents:
        return
    documents, _current.documents = _current.documents, []
    body = documents[0] if len(documents) == 1 else {"tables": documents}
    text = json.dumps(_plain({"command": _current.command, **body}), ensure_ascii=False, indent=2)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a result
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, str):
        return without_secrets(value)
    if value is None or isinstance(value, int):
        return value
    item = getattr(value, "item", None)  # a number of numpy
    return _plain(item()) if callable(item) else without_secrets(str(value))
