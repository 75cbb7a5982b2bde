"""Classify failures: permanent ones of a stage, and temporary ones of the infrastructure, which are worth a retry.

`dvc repro` always fails with exit code 255; the exit code of the stage is in its last lines.
"""

from __future__ import annotations

import re

from umgclip.errors import PeerError, StorageError, TrackingError, UmgclipError
from umgclip.flows.dvc.process import CommandResult

_STAGE_ENDED = re.compile(r"failed to run: (?P<command>.+), exited with (?P<code>-?\d+)")
_INTERRUPTED = 130  # exit code of `umgclip` on SIGTERM
_TEMPORARY = re.compile(
    "|".join(
        (
            r"unable to acquire lock",
            r"is busy, it is being blocked by",
            r"database is locked",
            r"connection (refused|reset|aborted|error|timed out)",
            r"could not connect to|failed to establish a new connection|unable to connect",
            r"temporary failure in name resolution|name or service not known",
            r"max retries exceeded|read timed out|connect(ion)? ?timeout|timeout on endpoint",
            r"remote end closed connection|server disconnected|broken pipe",
            r"slow ?down|service unavailable|bad gateway|gateway time-?out|internalerror",
            r"nccl (error|timeout)|cuda error: (unspecified launch failure|uncorrectable ecc)|gpu is lost",
        )
    ),
    re.IGNORECASE,
)
_SHOWN_LINES = 12


class StageFailed(UmgclipError):
    """The stage itself failed: bad params, bad data, a closed gate, or an error in code."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Unavailable(UmgclipError):
    """The infrastructure failed (a lock, the network, a server, a machine); a retry may help."""

    exit_code = 9


def explain(what: str, finished: CommandResult) -> StageFailed | Unavailable:
    """Return the error for a command that ended with an exit code other than 0.

    Args:
        what: name of what failed, such as `stage train`.
        finished: result of the DVC command.
    """
    tail = "\n  ".join(finished.lines[-_SHOWN_LINES:])
    ended = _last(_STAGE_ENDED, finished.text)
    code = int(ended["code"]) if ended else finished.code
    if code < 0 or code == _INTERRUPTED or (code > 128 and (ended or finished.code != 255)):
        number = -code if code < 0 else code - 128
        return Unavailable(f"{what}: ended by signal {number} from outside:\n  {tail}")
    if ended and code in (TrackingError.exit_code, StorageError.exit_code):
        return Unavailable(f"{what}: exit code {code}, a server that it needs does not answer:\n  {tail}")
    if ended and code == PeerError.exit_code:
        return Unavailable(f"{what}: exit code {code}, a process of the same group was lost:\n  {tail}")
    # the stage's own exit codes are unambiguous; for others only the output tells
    if not (ended and 1 < code < TrackingError.exit_code) and _TEMPORARY.search(tail):
        return Unavailable(f"{what}: exit code {code}, the infrastructure failed:\n  {tail}")
    return StageFailed(f"{what}: exit code {code}:\n  {tail}", code if ended else 1)


def is_temporary(error: BaseException | None) -> bool:
    """Return whether an error is temporary, so that a retry makes sense."""
    return isinstance(error, Unavailable | TrackingError | StorageError)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return last
