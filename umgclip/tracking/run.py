"""An open run: metrics in batches, files and tags, and nothing lost when the store is away."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import InputError, OutputError, TrackingError, UmgclipError
from umgclip.tracking.delivery import UPLOAD_S, deliver, send
from umgclip.tracking.journal import Journal
from umgclip.tracking.store import Store, bounded, end_run, explained

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_VALUES = 500
FLUSH_AFTER_S, RETRY_AFTER_S = 10.0, 60.0
_METRIC_NAME = re.compile(r"[\w./ :-]{1,250}")
_logger = logging.getLogger(__name__)


class Run:
    """An open MLflow run; safe to call from several threads.

    Metrics gather in the run's journal and are sent in batches. While the store is away, everything waits there.
    """

    def __init__(self, store: Store, client: MlflowClient, journal: Journal, root: Path) -> None:
        self.store = store
        self.run_id = journal.owner.run_id
        self._client = client
        self._journal = journal
        self._root = root
        self._lock = threading.Lock()
        self._flush_at = time.monotonic() + FLUSH_AFTER_S
        self._retry_at = 0.0  # after a failed attempt

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Remember values of one step; sent once 500 have gathered or 10 s have passed.

        Raises:
            InputError: a name that MLflow would refuse, or a value that is no number.
        """
        fresh = {name: _number(name, value) for name, value in values.items()}
        with self._lock:
            self._journal.append({"metrics": fresh, "step": step, "at": _now_ms()})
            # a store that is away must not be asked again at every step
            if time.monotonic() >= self._flush_at or (self._journal.values >= FLUSH_VALUES and not self._away()):
                self._flush()

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a whole folder to the run; while the store is away, to the run's journal.

        Raises:
            InputError: no such path.
        """
        if not path.exists():
            raise InputError(f"{path}: expected a file or folder to log, found none")
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        what = f"log {path.name}"
        if not self._away() and self._try(what, lambda: log(self.run_id, str(path), folder), UPLOAD_S):
            return
        try:
            with self._lock:
                self._journal.append({"file": self._journal.keep(path), "folder": folder})
        except (OutputError, OSError) as error:
            _logger.warning("could not %s, nor keep it for later: %s", what, error)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; later, while the store is away."""
        with self._lock:
            for name, value in tags.items():
                self._journal.append({"tag": [name, value]})
            if not self._away():
                self._flush()

    def flush(self) -> None:
        """Send all buffered values to MLflow now."""
        with self._lock:
            self._flush()

    def close_children(self) -> None:
        """End child runs that still run as KILLED: their machines are gone, and nothing else ends them.

        Entries of theirs that wait in this checkout are sent first.
        """
        self._try("end the runs of lost stages", self._kill_children)

    def _kill_children(self) -> None:
        deliver(self.store, self._root, self._client)
        experiment = self._client.get_run(self.run_id).info.experiment_id
        wanted = f"tags.mlflow.parentRunId = '{self.run_id}' and attributes.status = 'RUNNING'"
        for child in self._client.search_runs([experiment], wanted):
            end_run(self._client, child.info.run_id, "KILLED")

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED.

        What the store does not take now stays on disk; the next run sends it, or `umgclip sync`.
        """
        with self._lock:
            self._journal.append({"end": status, "at": _now_ms()})
            self._flush()
            waiting, lost, path = self._journal.values, self._journal.lost, self._journal.path
            told = self._journal.entries == 0
            self._journal.close(remove=told)
        if lost:
            message = "MLflow at %s: %d entries of run %s are lost, as %s could not be written"
            _logger.warning(message, self.store.name, lost, self.run_id, path)
        elif not told:
            _logger.warning(
                "MLflow at %s: %d metric values and the end of run %s as %s wait in %s; the next run sends them, or "
                "`umgclip sync`",
                *(self.store.name, waiting, self.run_id, status, path),
            )

    def _away(self) -> bool:
        return time.monotonic() < self._retry_at

    def _flush(self) -> None:
        try:
            send(self.store, self._client, self._journal)
        except (TrackingError, OutputError) as error:
            self._failed("send metrics", error)
            return
        self._retry_at, self._flush_at = 0.0, time.monotonic() + FLUSH_AFTER_S

    def _try(self, what: str, action: Callable[[], object], timeout_s: int = 10) -> bool:
        try:
            with explained(self.store), bounded(timeout_s):
                action()
        except (TrackingError, OutputError) as error:
            self._failed(what, error)
            return False
        return True

    def _failed(self, what: str, error: UmgclipError) -> None:
        self._retry_at = self._flush_at = time.monotonic() + RETRY_AFTER_S
        _logger.warning("could not %s: %s", what, error)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _number(name: str, value: Any) -> float:  # noqa: ANN401 - a float, a NumPy scalar or a tensor of one element
    if not _METRIC_NAME.fullmatch(name):
        raise InputError(f"metric {name!r}: expected letters, digits, spaces and _ - . : / only, at most 250 of them")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"metric {name}: expected a number, got {value!r}") from error
