"""The model that answers requests, and the thread that replaces it when the alias moves."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from umgclip.errors import DataError, InputError, TrackingError, UmgclipError
from umgclip.inference.answerer import Answerer
from umgclip.io.images import encode_png
from umgclip.serve.settings import ModelSelection

_BACK_OFF, _LONGEST_S = 2.0, 600.0
# texts for `/health`, which is public; the errors' own texts name files and addresses of this machine
_PUBLIC_TEXTS = {
    InputError: "there is no such model, alias or version",
    TrackingError: "the registry does not answer",
    DataError: "its files are damaged or do not belong together",
}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Served:
    """A loaded model version; each request keeps the one that it started with until it is answered."""

    version: str
    answerer: Answerer
    loaded_at: datetime


@dataclass(frozen=True)
class LoadProblem:
    """The reason that the newest version could not be loaded.

    Attributes:
        message: what failed, without details of this machine, which only the log has.
        version: the version that failed; None if the alias could not be resolved.
        since: time of the first failure.
    """

    message: str
    version: str | None
    since: datetime


@dataclass(frozen=True)
class ModelSource:
    """The two functions of the registry that the server needs.

    Attributes:
        resolve: returns the number of the version to serve.
        fetch: loads that version; it may write into the folder given, which is removed afterwards.
    """

    resolve: Callable[[], str]
    fetch: Callable[[str, Path], Answerer]


class Current:
    """Holder of the model that answers, which it replaces when the alias moves.

    Attributes:
        selection: the model that the operator selected.
        served: the model that answers.
        problem: why a newer version could not be loaded; None if there is no problem.
        checked_at: when the alias was last read.
        swaps: how many times the model was replaced.
        failures: how many checks of the alias, or loads, failed.
    """

    def __init__(self, selection: ModelSelection, source: ModelSource) -> None:
        """Load the first model.

        Raises:
            InputError: no such model, alias or version.
            TrackingError: the registry does not answer.
            DataError: the version's files are damaged.
        """
        self.selection = selection
        self._source = source
        self.problem: LoadProblem | None = None
        self.swaps = self.failures = 0
        version = source.resolve()
        self.checked_at = _now()
        self.served = self._load(version)
        self._retry_at, self._pause_s = 0.0, selection.poll_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="umgclip-watch", daemon=True)

    def start(self) -> None:
        """Start to follow the alias, unless a fixed version was selected."""
        if self.selection.version is None:
            self._thread.start()

    def close(self) -> None:
        """Stop following the alias, without waiting for a load in progress."""
        self._stop.set()

    def check(self) -> None:
        """Check the alias once; if it names another version, load that one and replace the current model with it.

        A failure raises nothing: the current model stays, and `problem` has the reason. A version that failed to load
        is tried again after a pause that doubles each time.
        """
        version = None
        try:
            version = self._source.resolve()
            self.checked_at = _now()
            if version == self.served.version:
                self._settle()
            elif self.problem is None or self.problem.version != version or time.monotonic() >= self._retry_at:
                served = self._load(version)
                _logger.info("%s: version %s replaces version %s", self.selection.name, version, self.served.version)
                self.served = served
                self.swaps += 1
                self._settle()
        except UmgclipError as error:
            self._fail(version, error)
        except Exception as error:  # a damaged file can raise anything; the old model keeps answering
            _logger.exception("%s: version %s cannot be loaded", self.selection.name, version)
            self._fail(version, error)

    def _watch(self) -> None:
        while not self._stop.wait(self.selection.poll_s):
            self.check()

    def _settle(self) -> None:
        self.problem, self._pause_s = None, self.selection.poll_s

    def _fail(self, version: str | None, error: Exception) -> None:
        known = self.problem
        repeated = known is not None and known.version == version
        if not repeated:
            _logger.warning("%s: version %s keeps answering: %s", self.selection.name, self.served.version, error)
        self._pause_s = min(_BACK_OFF * self._pause_s, _LONGEST_S) if repeated else self.selection.poll_s
        self._retry_at = time.monotonic() + self._pause_s
        since = known.since if known is not None and repeated else _now()
        text = next((text for kind, text in _PUBLIC_TEXTS.items() if isinstance(error, kind)), "it cannot be loaded")
        self.problem = LoadProblem(f"{text}; see the server's log for the reason", version, since)
        self.failures += 1

    def _load(self, version: str) -> Served:
        """Load a version and have it answer once: the first forward pass is slow, and can fail even after a load."""
        with tempfile.TemporaryDirectory(prefix="umgclip-serve-") as folder:
            answerer = self._source.fetch(version, Path(folder))
        grey = encode_png(np.full((8, 8, 3), 127, np.uint8))
        ready = {"image": grey, "labels": ["thing"], "boxes": [[0, 0, 4, 4]], "similarity_map": True}
        ready |= {"region_embeddings": True, "tags": 1 if answerer.target.vocabulary else 0}
        answerer.answer([answerer.prepare(ready, where="first forward")])
        return Served(version, answerer, _now())


def _now() -> datetime:
    return datetime.now(UTC)
