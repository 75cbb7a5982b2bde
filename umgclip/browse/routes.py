"""Pages that a gallery's server answers itself, beside the gallery's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class PageAnswer:
    """The answer to one request of a browser.

    Attributes:
        body: its bytes.
        type: its MIME type.
        status: its HTTP status.
        headers: further headers, which take the place of the server's own.
    """

    body: bytes
    type: str = "text/html; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable  # the tests check annotated types as they run
class Routes(Protocol):
    """Addresses that are answered by code."""

    tabs: str
    """HTML of links to these pages, which the gallery's page gets above its header."""

    def answer(self, path: str) -> PageAnswer | None:
        """PageAnswer a request for a path with its query; None: it is not one of these addresses."""
        ...
