"""A forced promotion: who promotes a version against its gates, when and why, as recorded on the version."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime

from umgclip.errors import InputError


@dataclass(frozen=True)
class Force:
    """The order to make a version the champion although its gates fail.

    Attributes:
        by: user who gives the order.
        reason: the reason, in words.
        at: time in UTC, as in `2026-01-31T12:00:00Z`.
    """

    by: str
    reason: str
    at: str

    @classmethod
    def now(cls, reason: str | None) -> Force:
        """Create an order by the user who runs this process, at this time.

        Raises:
            InputError: the reason is missing.
        """
        text = " ".join((reason or "").split())
        if not text:
            raise InputError("--force: expected --reason TEXT, which is stored with the version, got none")
        return cls(_user(), text, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    @classmethod
    def from_options(cls, force: bool, reason: str | None) -> Force | None:
        """Create an order from a command's `--force` and `--reason`; None if nothing is forced.

        Raises:
            InputError: one of the two is given without the other.
        """
        if force:
            return cls.now(reason)
        if reason is not None:
            raise InputError(f"--reason: expected --force as well, got --reason {reason!r} alone")
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return "unknown"
