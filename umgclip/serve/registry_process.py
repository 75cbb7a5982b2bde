"""The process that asks MLflow's registry, so that MLflow is imported beside the model's libraries and not after them.

It also keeps the checks of the alias out of the process that answers requests. The two exchange pickles over a pipe;
the process ends when the pipe does, however its parent ends.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from umgclip.errors import TrackingError, UmgclipError
from umgclip.tracking import Store

_END_S = 5.0
_logger = logging.getLogger(__name__)


class _Question(NamedTuple):
    function: str
    arguments: tuple[Any, ...]


class _Answer(NamedTuple):
    value: Any


class _Line(NamedTuple):
    """A line for the log, which the parent writes in its own way."""

    logger: str
    level: int
    text: str


class RegistryProcess:
    """The registry of a store, asked by a process of its own; safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        """Start the process, which imports MLflow in the background."""
        self._store = store
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._start()

    def resolve(self, name: str, alias_or_version: str) -> str:
        """Return the number of the version that an alias or a number names.

        Raises:
            InputError: no such model, alias or version.
            TrackingError: MLflow does not answer or refuses, or the process was lost.
        """
        return str(self._ask("resolve", name, alias_or_version))

    def download(self, name: str, version: str, into: Path) -> tuple[Path, Mapping[str, Any]]:
        """Download a version; return the folder of its files and its settings, as `umgclip.register.download` does.

        Raises:
            InputError: no such model or version.
            TrackingError: MLflow does not answer or refuses, or the process was lost.
        """
        folder, settings = self._ask("download", name, version, into)
        return folder, settings

    def close(self) -> None:
        """End the process, whatever it does; a thread that waits for its answer starts no other one."""
        self._closed.set()
        self._process.kill()  # the pipe ends for whoever waits at it, and only then may it be closed
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.join(_END_S)
        self._connection.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=answer_questions, args=(theirs, self._store), name="umgclip-registry", daemon=True
        )
        self._process.start()
        theirs.close()

    def _ask(self, function: str, *arguments: Any) -> Any:  # noqa: ANN401 - of the function
        with self._lock:
            try:
                self._connection.send(_Question(function, arguments))
                while isinstance(reply := self._connection.recv(), _Line):
                    logging.getLogger(reply.logger).log(reply.level, "%s", reply.text)
            except (EOFError, OSError) as error:
                self._end()
                if self._closed.is_set():
                    raise TrackingError(f"MLflow at {self._store.name}: the server is told to stop") from error
                self._start()
                raise TrackingError(
                    f"MLflow at {self._store.name}: the process that asks it ended; another one was started"
                ) from error
        if isinstance(reply, _Answer):
            return reply.value
        raise reply

    def __enter__(self) -> RegistryProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _ToParent(logging.Handler):
    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record to the parent, as text."""
        self._connection.send(_Line(record.name, record.levelno, self.format(record)))


def answer_questions(connection: Connection, store: Store) -> None:
    """Answer questions about a store until the pipe ends; this is what the process runs.

    Args:
        connection: to the parent.
        store: the store that is asked.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent closes the pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a parent that is stopping ignores it
    logging.basicConfig(handlers=[_ToParent(connection)], level=logging.WARNING, format="%(message)s")
    gc.disable()  # most of what an import makes stays; collections took a tenth of its time
    from umgclip.register import download

    gc.freeze()
    gc.enable()
    functions: Mapping[str, Callable[..., Any]] = {"resolve": download.resolve, "download": download.download}
    while True:
        try:
            question: _Question = connection.recv()
        except EOFError:
            return
        connection.send(_reply(functions[question.function], store, question))


def _reply(function: Callable[..., Any], store: Store, question: _Question) -> _Answer | Exception:
    try:
        return _Answer(function(store, *question.arguments))
    except UmgclipError as error:
        return error
    except Exception as error:
        _logger.exception("cannot %s", question.function)
        return RuntimeError(f"{type(error).__name__}: {error}")
