"""Forwards shared by concurrent requests: one thread, which is the only one that runs the model."""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from umgclip.register.request import Prepared
from umgclip.serve.current import Served
from umgclip.serve.metrics import Metrics
from umgclip.serve.settings import Batching

Answer = dict[str, Any]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Job:
    """One image, with the model that prepared it: a swap in between must not send it to another."""

    served: Served
    prepared: Prepared
    future: Future[Answer] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """Gathers images for up to `max_wait_ms` and answers them in one forward."""

    def __init__(self, settings: Batching, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="umgclip-model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the model's thread runs; without it nothing is answered."""
        return self._thread.is_alive()

    def submit(self, served: Served, prepared: Prepared) -> Future[Answer]:
        """Put an image into the queue; a future that is cancelled before its turn costs nothing."""
        job = _Job(served, prepared)
        self._queue.put(job)
        return job.future

    def close(self, timeout_s: float) -> None:
        """Answer what is in the queue, then end the thread."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            jobs, last = self._gather(job)
            for served in dict.fromkeys(job.served for job in jobs):
                self._answer(served, [job for job in jobs if job.served is served])
            if last:
                return

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        """A batch, and whether the queue was closed meanwhile."""
        jobs, until = [first], time.perf_counter() + self._settings.max_wait_ms / 1000
        while len(jobs) < self._settings.max_images:
            try:
                job = self._queue.get(timeout=max(0.0, until - time.perf_counter()))
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _answer(self, served: Served, jobs: list[_Job]) -> None:
        began = time.perf_counter()
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        if not jobs:
            return
        for job in jobs:
            self._metrics.waited.observe(began - job.since)
        try:
            answers = served.answerer.answer([job.prepared for job in jobs])
        except Exception as error:
            _logger.exception("a forward of %d images failed", len(jobs))
            self._alone(served, jobs, error)
            return
        self._metrics.batch.observe(len(jobs))
        self._metrics.forward.observe(time.perf_counter() - began)
        for job, answer in zip(jobs, answers, strict=True):
            job.future.set_result(answer)

    def _alone(self, served: Served, jobs: list[_Job], error: Exception) -> None:
        """After a failed batch, each image for itself: one that the model cannot take must not fail its neighbours."""
        for job in jobs:
            if len(jobs) == 1:
                job.future.set_exception(error)
                return
            try:
                job.future.set_result(served.answerer.answer([job.prepared])[0])
            except Exception as own:  # noqa: BLE001 - whoever waits gets it
                job.future.set_exception(own)
