"""The image of a row: bytes, a path below the source, or both, as `datasets` stores them."""

from __future__ import annotations

from typing import Any, NamedTuple

from umgclip.io.places import Place
from umgclip.safe_text import brief
from umgclip.sources.formats.shared.reading import read_image
from umgclip.sources.naming import several
from umgclip.sources.note import Problem, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.source_files import extension_of

_SCHEMES = ("http://", "https://", "hf://", "gs://", "s3://")


class RowImage(NamedTuple):
    """An image's bytes or what is wrong with it, its path in the row, and the extension that counts."""

    data: bytes | Problem
    path: str | None
    extension: str = ""


def is_address(value: Any) -> bool:  # noqa: ANN401 - what a row held
    """Return whether a row has an address in place of an image."""
    path = value.get("path") if isinstance(value, dict) and value.get("bytes") is None else value
    return isinstance(path, str) and path.lower().startswith(_SCHEMES)


def find_image(plan: ImportPlan, source: Place, value: Any, limit: int) -> RowImage:  # noqa: ANN401 - what a row held
    """Return the image of a row.

    Embedded bytes count before a path, and a path says nothing about their format: many data sets were encoded again.
    """
    path = value.get("path") if isinstance(value, dict) else value if isinstance(value, str) else None
    path = path if isinstance(path, str) and path else None
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        if len(data) > limit:
            return RowImage(Problem("too_large", f"expected at most {limit} bytes, got {len(data)}"), path)
        return RowImage(data, path)
    if path is None:
        return RowImage(Problem("no_image", f"expected an image, got {brief(value)}"), None)
    if is_address(path):
        return RowImage(Problem("no_image", f"expected an image, got the address {brief(path)}"), path)
    match = plan.find(path)
    if len(match.names) != 1:
        reason = "ambiguous_name" if match.names else "no_image"
        what = f"several files fit: {several(match.names)}" if match.names else "no such file below the source"
        return RowImage(Problem(reason, f"{shown(path)}: {what}"), path)
    name = match.names[0].decode("utf-8", "surrogateescape")
    return RowImage(read_image(source, name, limit), path, extension_of(name))
