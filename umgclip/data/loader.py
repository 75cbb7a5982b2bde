"""A function over a stream by several workers, results in the stream's order: decoding that keeps a GPU fed."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.util import Finalize
from typing import Generic, Literal, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from umgclip.data.stream import prefetched
from umgclip.errors import UmgclipError
from umgclip.process_end import end_process

Backend = Literal["threads", "processes"]
_AHEAD = 2  # results made ahead by each worker
_LAST = -100  # among the finalizers of a process, which run from high to low
_T = TypeVar("_T")
_R = TypeVar("_R")


def ordered_map(
    function: Callable[[_T], _R], source: Iterator[_T], workers: int, backend: Backend = "threads"
) -> Generator[_R]:
    """Map a function over a stream by several workers, ahead of use; results keep the stream's order.

    Args:
        function: what to do with an item; with processes it is pickled once.
        source: read by one thread of this process.
        workers: how many, at least 1.
        backend: threads share this process; processes do not share its interpreter, and cost a start.

    Raises:
        UmgclipError: a worker process died. What `function` or `source` raises comes where its result would.
    """
    if backend == "processes":
        yield from _by_processes(function, source, workers)
    elif workers == 1:
        yield from prefetched(map(function, source))
    else:
        yield from _by_threads(function, source, workers)


def _by_threads(function: Callable[[_T], _R], source: Iterator[_T], workers: int) -> Iterator[_R]:
    items = prefetched(source)
    with ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
        waiting = deque(pool.submit(function, item) for _, item in zip(range(_AHEAD * workers), items, strict=False))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for _, item in zip(range(1), items, strict=False))
            yield result


class _Calls(Dataset[_R], Generic[_T, _R]):
    """A data set whose "indices" are the items themselves: the sampler's stream goes to the workers with them."""

    def __init__(self, function: Callable[[_T], _R]) -> None:
        self._function = function

    def __getitem__(self, item: _T) -> _R:
        return self._function(item)


class _Stream(Generic[_T]):
    """An iterator in the place of a sampler."""

    def __init__(self, source: Iterator[_T]) -> None:
        self._source = source

    def __iter__(self) -> Iterator[_T]:
        return prefetched(self._source)


def _by_processes(function: Callable[[_T], _R], source: Iterator[_T], workers: int) -> Iterator[_R]:
    loader = DataLoader(
        _Calls(function),
        batch_size=None,
        sampler=_Stream(source),
        num_workers=workers,
        prefetch_factor=_AHEAD,
        # not fork: this process has threads, and may have a GPU
        multiprocessing_context="spawn",
        worker_init_fn=_start_worker,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" in str(error):
            raise UmgclipError(
                f"train: a process that decodes images died (out of memory?): {error}; lower train.loader.workers"
            ) from error
        raise


def _start_worker(_number: int) -> None:
    import cv2

    # after the finalizers of its queues: their threads may still send a tensor when the loader is closed early
    Finalize(None, end_process, args=(0,), exitpriority=_LAST)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
