"""JSON files that hold one object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from umgclip.errors import DataError
from umgclip.io.atomic import must_be_readable


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object that a file holds.

    Raises:
        DataError: no file, one that this user may not read, no JSON, or no object.
    """
    try:
        must_be_readable(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def read_report(path: Path) -> dict[str, Any]:
    """Read the JSON object that an earlier stage wrote.

    Raises:
        DataError: missing, or no JSON object.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a report of an earlier stage, found none; `dvc repro` writes it")
    return read_object(path)
