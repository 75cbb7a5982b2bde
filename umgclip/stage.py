"""The summary that every stage returns."""

from __future__ import annotations

from dataclasses import dataclass

LEFT_OUT = "left_out"
"""Reason in validation's quarantine of an image that nothing is wrong with: it is put aside, to measure models on."""


@dataclass(frozen=True)
class Summary:
    """A title and rows of name and value, shown as a table by the command line."""

    title: str
    rows: tuple[tuple[str, str], ...]
