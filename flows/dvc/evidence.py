"""What a run shows people, kept in its MLflow run, also where it failed on a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from umgclip.errors import TrackingError, UmgclipError
from umgclip.tracking import bounded, explained, store_from_env

_UPLOAD_S = 120
_CLOCK_S = 1.0  # by which the times of files may be off


@dataclass(frozen=True)
class ReviewFolder:
    """A folder for people to look at, that the run in MLflow gets: who writes it, where, which page to open first."""

    stage: str
    path: str
    first: str = ""


REVIEW_FOLDERS = {
    "evaluation": ReviewFolder("evaluate", "artifacts/evaluate", "report.html"),
    "data_docs": ReviewFolder("validate", "artifacts/data_docs", "index.html"),
    "validate": ReviewFolder("validate", "artifacts/validate"),  # the rows in quarantine
}


class ReachedStages:
    """The stages that a run has come to."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def begins(self, stage: str) -> None:
        """A stage begins here: what it writes is newer than this moment."""
        self._since[stage] = time.time()

    def done(self, stage: str) -> None:
        """A stage is up to date, and so is what it has written, whenever that was."""
        self._since[stage] = 0.0

    def log(self, root: Path, keep: Callable[[Path, str], object]) -> None:
        """Have a run in MLflow keep what these stages show, that of a stage which has failed too.

        Args:
            root: where they ran.
            keep: takes a folder, and where among the run's artifacts it goes.
        """
        for name, shown in REVIEW_FOLDERS.items():
            since, path = self._since.get(shown.stage), root / shown.path
            if since is not None and path.is_dir() and path.stat().st_mtime >= since - _CLOCK_S:
                keep(path, name)


@contextmanager
def evidence(
    root: Path, run_id: str | None, folder: str | None, warn: Callable[[str], object]
) -> Iterator[ReachedStages]:
    """What fails on a worker leaves its pages in the run that asked for it; the worker's clone may go.

    Args:
        root: where stages run.
        run_id: of the run in MLflow; None: there is none.
        folder: of the run's artifacts, where many orders share the run.
        warn: called where MLflow does not answer.
    """
    reached = ReachedStages()
    try:
        yield reached
    except UmgclipError:
        if run_id is not None:
            store = store_from_env(root)
            try:
                with explained(store), bounded(_UPLOAD_S):
                    client = store.client()
                    below = f"{folder}/" if folder else ""
                    reached.log(root, lambda path, name: client.log_artifacts(run_id, str(path), f"{below}{name}"))
            except TrackingError as error:
                warn(f"could not keep the pages of what failed: {error}")
        raise
