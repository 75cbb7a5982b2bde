"""Functions on rows of Ray Data that hold a job each, and counts of the work; no import of Ray."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from umgclip.annotate.job import Job
from umgclip.annotate.progress import Tally
from umgclip.errors import InputError, UmgclipError


def call_on_row(row: dict[str, Any], work: Callable[[Job], Any], folder: str) -> dict[str, Any]:
    """Call a function with the row's job, and return its result; an error becomes a value of the row."""
    try:
        enter_folder(folder)
        return {"result": pickle.dumps(work(row["job"])), "error": None}
    except Exception as error:  # noqa: BLE001 - raised again by the driver
        return {"result": b"", "error": error_value(error)}


def enter_folder(folder: str) -> None:
    """Change to the driver's working folder, which paths in params are relative to.

    Raises:
        InputError: this machine does not have the folder.
    """
    if not Path(folder).is_dir():
        here = os.uname().nodename
        raise InputError(f"annotate.engine: expected the folder {folder} on all machines, {here} has none")
    os.chdir(folder)


def error_value(error: Exception) -> Exception:
    """Return an error that can be pickled, with its traceback as a note."""
    if not isinstance(error, UmgclipError):
        error.add_note(traceback.format_exc())
    return error


class Counts:
    """Counts of the work since the driver last asked, held by an actor beside the driver."""

    def __init__(self) -> None:
        self._news = Tally()
        self._told: dict[str, Tally] = {}
        self._deaths: dict[str, int] = {}

    def begin(self, job: str) -> int:
        """Note that a worker begins a job, and return how often that happened since any of it was done."""
        if job in self._told:  # its last worker is dead, or died before Ray heard that it was done
            self._news.add(self._told[job].taken_back())
        self._told[job] = Tally()
        self._deaths[job] = self._deaths.get(job, 0) + 1
        return self._deaths[job]

    def tell(self, job: str, tally: Tally) -> None:
        """Add the counts of work on a job."""
        self._told[job].add(tally)
        self._news.add(tally)
        self._deaths[job] = 0

    def end(self, job: str) -> None:
        """Note that the worker has finished the job."""
        self._deaths.pop(job, None)

    def news(self) -> Tally:
        """Return the counts of the work since the last call, and reset them."""
        news, self._news = self._news, Tally()
        return news
