"""The model that answers, and the thread that puts another in its place when the alias moves."""

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
# what anybody may read; an error's own text names files and addresses of this machine
_SAID = {
    InputError: "there is no such model, alias or version",
    TrackingError: "the registry does not answer",
    DataError: "its files are damaged or do not belong together",
}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Served:
    """A loaded version. Requests hold on to the one that they started with; the last to let go frees it."""

    version: str
    answerer: Answerer
    loaded_at: datetime


@dataclass(frozen=True)
class LoadProblem:
    """Why the newest version does not answer.

    Attributes:
        message: what failed, in words that may leave this machine; the log has the rest.
        version: which version; None when not even that could be found out.
        since: when it failed first.
    """

    message: str
    version: str | None
    since: datetime


@dataclass(frozen=True)
class ModelSource:
    """The registry, reduced to two questions.

    Attributes:
        resolve: the number of the version to serve.
        fetch: that version, loaded; it may write into the folder given, which is removed afterwards.
    """

    resolve: Callable[[], str]
    fetch: Callable[[str, Path], Answerer]


class Current:
    """Holds the model that answers.

    Attributes:
        selection: what the operator asked for.
        served: the model that answers.
        problem: why a newer one does not; None when all is well.
        checked_at: when the alias was last read.
        swaps: how many times the model was replaced.
        failures: how many looks or loads failed.
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
        """Follow the alias, unless a fixed version was asked for."""
        if self.selection.version is None:
            self._thread.start()

    def close(self) -> None:
        """Stop following; a load that is under way is not waited for."""
        self._stop.set()

    def check(self) -> None:
        """Look at the alias once. When it names another version, load that beside the present one, then swap.

        Nothing is raised: the present model stays, and `problem` says why. A version that failed to load is tried
        again after a pause that doubles each time.
        """
        version = None
        try:
            version = self._source.resolve()
            self.checked_at = _now()
            if version == self.served.version:
                self._settle()
            elif self.problem is None or self.problem.version != version or time.monotonic() >= self._retry_at:
                served = self._load(version)
                _logger.info("%s: version %s answers now, after %s", self.selection.name, version, self.served.version)
                self.served = served
                self.swaps += 1
                self._settle()
        except UmgclipError as error:
            self._fail(version, error)
        except Exception as error:  # whatever a damaged file sets off, the old model goes on
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
            _logger.warning("%s: version %s goes on answering: %s", self.selection.name, self.served.version, error)
        self._pause_s = min(_BACK_OFF * self._pause_s, _LONGEST_S) if repeated else self.selection.poll_s
        self._retry_at = time.monotonic() + self._pause_s
        since = known.since if known is not None and repeated else _now()
        said = next((text for kind, text in _SAID.items() if isinstance(error, kind)), "it cannot be loaded")
        self.problem = LoadProblem(f"{said}; the server's log has the reason", version, since)
        self.failures += 1

    def _load(self, version: str) -> Served:
        """A version that has answered once: a first forward is slow, and may fail where loading did not."""
        with tempfile.TemporaryDirectory(prefix="umgclip-serve-") as folder:
            answerer = self._source.fetch(version, Path(folder))
        grey = encode_png(np.full((8, 8, 3), 127, np.uint8))
        ready = {"image": grey, "labels": ["thing"], "boxes": [[0, 0, 4, 4]], "similarity_map": True}
        ready |= {"region_embeddings": True, "tags": 1 if answerer.target.vocabulary else 0}
        answerer.answer([answerer.prepare(ready, where="first forward")])
        return Served(version, answerer, _now())


def _now() -> datetime:
    return datetime.now(UTC)
