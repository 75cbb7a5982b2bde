"""Several processes that share some work, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any


class _Pool(ProcessPoolExecutor):
    """Processes of which one may die while another is started: that, too, is `BrokenProcessPool`, not `OSError`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as its base
        try:
            return super().submit(fn, *args, **kwargs)
        except OSError:  # "handle is closed", by the thread that has noticed the death
            super().submit(int)  # raises what a broken pool does
            raise


@contextmanager
def worker_pool(
    workers: int, start: Callable[..., None] | None = None, given: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block, whatever they are at, and with this process, also when it is killed.

    Args:
        workers: how many.
        start: called in each of them first.
        given: what it is called with.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = _Pool(workers, context, initializer=_start, initargs=(start, given))
    try:
        yield pool
    finally:
        # first: a shutdown alone lets every worker finish what it is at
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        pool.shutdown(cancel_futures=True)


def _start(start: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    begin_worker()
    if start is not None:
        start(*given)


def begin_worker() -> None:
    """Set up a worker process: leave Ctrl-C to its parent, and end when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def leave_pandas_out() -> None:
    """Make pyarrow convert nothing to pandas in this process; with pandas in use there is nothing to do.

    For workers that write tables. pyarrow imports pandas before it converts its first list of values, which takes a
    worker a third of a second and 40 MB. It looks for pandas once and then knows that there is none.
    """
    import pyarrow as pa  # not every process has tables

    if "pandas" in sys.modules:
        return
    missing = _Missing()
    sys.meta_path.insert(0, missing)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(missing)


class _Missing(MetaPathFinder):
    """A finder for which pandas is not installed."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:  # noqa: ANN401 - importlib's
        del path, target
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _end_with_parent() -> None:
    """End this process with its parent: an idle worker holds both ends of its own queue and would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
