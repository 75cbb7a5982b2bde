"""Rows of Ray Data that hold a job each, as a function on some machine takes them; it knows nothing of Ray."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from umgclip.annotate.job import Job
from umgclip.errors import InputError, UmgclipError


def call_on_row(row: dict[str, Any], work: Callable[[Job], Any], folder: str) -> dict[str, Any]:
    """What a function makes of the row's job; an error is a value of the row."""
    try:
        enter_folder(folder)
        return {"result": pickle.dumps(work(row["job"])), "error": None}
    except Exception as error:  # noqa: BLE001 - raised again by the driver
        return {"result": b"", "error": error_value(error)}


def enter_folder(folder: str) -> None:
    """Go where the driver is, since paths in params start there."""
    if not Path(folder).is_dir():
        here = os.uname().nodename
        raise InputError(f"annotate.engine: expected the folder {folder} on all machines, {here} has none")
    os.chdir(folder)


def error_value(error: Exception) -> Exception:
    """The error as it can travel; its traceback stays on its machine."""
    if not isinstance(error, UmgclipError):
        error.add_note(traceback.format_exc())
    return error
