"""Store the reports of a run for review in its MLflow run, including those of stages that failed on a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from umgclip.errors import TrackingError, UmgclipError
from umgclip.tracking import bounded, explained, store_from_env

_UPLOAD_S = 120
_CLOCK_S = 1.0  # tolerance for the modification times of files


@dataclass(frozen=True)
class ReviewFolder:
    """A folder for review that the MLflow run stores: the stage that writes it, its path, and its first page."""

    stage: str
    path: str
    first: str = ""


REVIEW_FOLDERS = {
    "evaluation": ReviewFolder("evaluate", "artifacts/evaluate", "report.html"),
    "data_docs": ReviewFolder("validate", "artifacts/data_docs", "index.html"),
    "validate": ReviewFolder("validate", "artifacts/validate"),  # the quarantined rows
}


class ReachedStages:
    """The stages that a run has reached, with their start times."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def begins(self, stage: str) -> None:
        """Record that a stage starts now; only files written after this moment count as its output."""
        self._since[stage] = time.time()

    def done(self, stage: str) -> None:
        """Record that a stage is up to date; its files count as its output whatever their age."""
        self._since[stage] = 0.0

    def log(self, root: Path, keep: Callable[[Path, str], object]) -> None:
        """Store the review folders of these stages in an MLflow run, including that of a failed stage.

        Args:
            root: folder in which the stages ran.
            keep: called with a folder and its path among the run's artifacts.
        """
        for name, shown in REVIEW_FOLDERS.items():
            since, path = self._since.get(shown.stage), root / shown.path
            if since is not None and path.is_dir() and path.stat().st_mtime >= since - _CLOCK_S:
                keep(path, name)


@contextmanager
def evidence(
    root: Path, run_id: str | None, folder: str | None, warn: Callable[[str], object]
) -> Iterator[ReachedStages]:
    """Upload the reports of a stage that fails on a worker to the MLflow run, because the clone may be removed.

    Args:
        root: folder in which stages run.
        run_id: id of the MLflow run; None: there is none.
        folder: folder among the run's artifacts, for runs that many orders share.
        warn: called if MLflow does not answer.
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
                warn(f"could not upload the reports of the failed stage: {error}")
        raise
