"""The summary that every stage returns, and the steps that it tells while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LEFT_OUT = "left_out"
"""Reason in validation's quarantine of an image that nothing is wrong with: it is put aside, to measure models on."""


@dataclass(frozen=True)
class Summary:
    """A title and rows of name and value, shown as a table by the command line.

    Attributes:
        title: what was done.
        rows: names and values in words.
        facts: the same for programs, as values of JSON by stable names.
    """

    title: str
    rows: tuple[tuple[str, str], ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


Advance = Callable[[int], None]
"""Takes the number of items just done."""
Listener = Callable[[str, int | None, str], Advance]
"""Takes the name of a step, how many items it has if that is known, and their unit."""
_listener: Listener | None = None


def begin(step: str, total: int | None = None, unit: str = "items") -> Advance:
    """Tell whoever watches this process that a step begins, which ends the one before.

    Args:
        step: what is done, such as `writing the report`.
        total: number of items, if they are counted.
        unit: what is counted.

    Returns:
        A function for the items done; it does nothing where nobody watches, or nothing is counted.
    """
    return (lambda _count: None) if _listener is None else _listener(step, total, unit)


def listen(listener: Listener | None) -> None:
    """Set who watches the steps of this process; None: nobody."""
    global _listener  # noqa: PLW0603 - one command runs in a process
    _listener = listener
