"""Whose fault a failure is: the stage's, which no repetition mends, or that of the machinery around it, which may pass.

`dvc repro` exits with 255 whatever happened; the code of the stage stands in its last words.
"""

from __future__ import annotations

import re

from flows.dvc.process import CommandResult
from umgclip.errors import PeerError, StorageError, TrackingError, UmgclipError

_STAGE_ENDED = re.compile(r"failed to run: (?P<command>.+), exited with (?P<code>-?\d+)")
_INTERRUPTED = 130  # how `umgclip` ends on SIGTERM
_PASSING = re.compile(
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
    """The stage did its work and says no, or cannot do it: bad params, bad data, a closed gate, an error in code."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Unavailable(UmgclipError):
    """Something around the stage failed (a lock, the network, a server, a machine); trying again later may help."""

    exit_code = 9


def explain(what: str, finished: CommandResult) -> StageFailed | Unavailable:
    """The error for a command that ended with a code other than 0.

    Args:
        what: what failed, as in `stage train`.
        finished: of DVC.
    """
    said = "\n  ".join(finished.lines[-_SHOWN_LINES:])
    ended = _last(_STAGE_ENDED, finished.text)
    code = int(ended["code"]) if ended else finished.code
    if code < 0 or code == _INTERRUPTED or (code > 128 and (ended or finished.code != 255)):
        number = -code if code < 0 else code - 128
        return Unavailable(f"{what}: ended by signal {number}, which it did not send itself:\n  {said}")
    if ended and code in (TrackingError.exit_code, StorageError.exit_code):
        return Unavailable(f"{what}: exit code {code}, a server it needs does not answer:\n  {said}")
    if ended and code == PeerError.exit_code:
        return Unavailable(f"{what}: exit code {code}, a process that works with it was lost:\n  {said}")
    # the stage's own codes say what they mean; elsewhere only the words tell
    if not (ended and 1 < code < TrackingError.exit_code) and _PASSING.search(said):
        return Unavailable(f"{what}: exit code {code}, something around it failed:\n  {said}")
    return StageFailed(f"{what}: exit code {code}:\n  {said}", code if ended else 1)


def may_pass(error: BaseException | None) -> bool:
    """Whether trying again makes sense."""
    return isinstance(error, Unavailable | TrackingError | StorageError)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for match in pattern.finditer(text):
        found = match
    return found
