"""Rows of Ray Data that hold a job each, as a function on some machine takes them; it knows nothing of Ray."""

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


class Counts:
    """What workers did since the last look, in an actor beside the driver."""

    def __init__(self) -> None:
        self._news = Tally()
        self._told: dict[str, Tally] = {}
        self._deaths: dict[str, int] = {}

    def begin(self, job: str) -> int:
        """A worker takes a job up; gives how often that happened since something of it was done."""
        if job in self._told:  # who had it is dead, or died before Ray heard that it was through
            self._news.add(self._told[job].taken_back())
        self._told[job] = Tally()
        self._deaths[job] = self._deaths.get(job, 0) + 1
        return self._deaths[job]

    def tell(self, job: str, tally: Tally) -> None:
        """Something of a job was done."""
        self._told[job].add(tally)
        self._news.add(tally)
        self._deaths[job] = 0

    def end(self, job: str) -> None:
        """The worker is through with it."""
        self._deaths.pop(job, None)

    def news(self) -> Tally:
        """What was done since this was last asked."""
        news, self._news = self._news, Tally()
        return news
