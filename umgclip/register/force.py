"""A promotion against the gates: who wanted it, when and why, which stays on the version."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime

from umgclip.errors import InputError


@dataclass(frozen=True)
class Force:
    """Why a version becomes champion although its gates do not hold.

    Attributes:
        by: who says so.
        reason: why, in words.
        at: when, UTC, as in `2026-01-31T12:00:00Z`.
    """

    by: str
    reason: str
    at: str

    @classmethod
    def now(cls, reason: str | None) -> Force:
        """By the user who runs this process.

        Raises:
            InputError: there is no reason.
        """
        text = " ".join((reason or "").split())
        if not text:
            raise InputError("--force: expected --reason TEXT, which is kept with the version, got none")
        return cls(_user(), text, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    @classmethod
    def from_options(cls, force: bool, reason: str | None) -> Force | None:
        """What a command's `--force` and `--reason` ask for, None where nothing is forced.

        Raises:
            InputError: one of them without the other.
        """
        if force:
            return cls.now(reason)
        if reason is not None:
            raise InputError(f"--reason: expected --force with it, got --reason {reason!r} alone")
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "unknown"
