"""An open run: metrics in batches, files and tags, and no work lost when the store is."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import InputError, TrackingError
from umgclip.tracking.store import Store, bounded, explained

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_VALUES = 500
FLUSH_AFTER_S, RETRY_AFTER_S, _UPLOAD_S = 10.0, 60.0, 120
_BATCH_METRICS = 1000  # MLflow's limit on one log_batch
_METRIC_NAME = re.compile(r"[\w./ :-]{1,250}")
_logger = logging.getLogger(__name__)


class Run:
    """An open MLflow run. Metrics are buffered and written in batches; safe to call from several threads."""

    def __init__(self, store: Store, client: MlflowClient, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self._client = client
        self._lock = threading.Lock()
        self._buffer: list[Any] = []
        self._flush_at = time.monotonic() + FLUSH_AFTER_S

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Remember values of one step; written once 500 have gathered or 10 s have passed.

        Raises:
            InputError: a name that MLflow would refuse, or a value that is no number.
        """
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        fresh = [Metric(name, _number(name, value), now_ms, step) for name, value in values.items()]
        with self._lock:
            self._buffer.extend(fresh)
            due = time.monotonic() >= self._flush_at
            # after a failed attempt _flush_at lies in the future and a full buffer must not try again at every step
            full = len(self._buffer) >= FLUSH_VALUES and self._flush_at - time.monotonic() <= FLUSH_AFTER_S
            if due or full:
                self._flush()

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a whole folder to the run; a store that fails costs a warning.

        Raises:
            InputError: no such path.
        """
        if not path.exists():
            raise InputError(f"{path}: expected a file or folder to log, found none")
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._try(f"log {path.name}", lambda: log(self.run_id, str(path), folder), _UPLOAD_S)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; a store that fails costs a warning."""
        for name, value in tags.items():
            self._try(f"set the tag {name}", partial(self._client.set_tag, self.run_id, name, value))

    def flush(self) -> None:
        """Write what has gathered, now."""
        with self._lock:
            self._flush()

    def close_children(self) -> None:
        """End as KILLED what still runs under this run: stages whose machine is gone, as nobody else will."""
        self._try("end the runs of lost stages", self._kill_children)

    def _kill_children(self) -> None:
        experiment = self._client.get_run(self.run_id).info.experiment_id
        wanted = f"tags.mlflow.parentRunId = '{self.run_id}' and attributes.status = 'RUNNING'"
        for child in self._client.search_runs([experiment], wanted):
            self._client.set_terminated(child.info.run_id, "KILLED")

    def close(self, status: str) -> None:
        """Write what has gathered and end the run as FINISHED, FAILED or KILLED."""
        self.flush()
        if self._buffer:
            _logger.warning("MLflow at %s: %d metric values are lost", self.store.name, len(self._buffer))
        self._try(f"end the run as {status}", lambda: self._client.set_terminated(self.run_id, status))

    def _flush(self) -> None:
        while self._buffer:
            batch = self._buffer[:_BATCH_METRICS]
            if not self._try("log metrics", partial(self._client.log_batch, self.run_id, metrics=batch)):
                self._flush_at = time.monotonic() + RETRY_AFTER_S
                return
            del self._buffer[: len(batch)]
        self._flush_at = time.monotonic() + FLUSH_AFTER_S

    def _try(self, what: str, action: Callable[[], object], timeout_s: int = 10) -> bool:
        try:
            with explained(self.store), bounded(timeout_s):
                action()
        except TrackingError as error:
            _logger.warning("could not %s: %s", what, error)
            return False
        return True


def _number(name: str, value: Any) -> float:  # noqa: ANN401 - a float, a NumPy scalar or a tensor of one element
    if not _METRIC_NAME.fullmatch(name):
        raise InputError(f"metric {name!r}: expected letters, digits, spaces and _ - . : / only, at most 250 of them")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"metric {name}: expected a number, got {value!r}") from error
