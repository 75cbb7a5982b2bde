"""The thread that runs the model in short steps: a forward pass of some images or of some texts.

Requests of several clients take turns. A cancelled job is dropped before its next step.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from umgclip.inference.request import Prepared
from umgclip.serve.current import Served
from umgclip.serve.metrics import Metrics
from umgclip.serve.settings import Batching
from umgclip.serve.turns import Turns

Answer = dict[str, Any]
_LATELY_S = 2.0
_logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """One image with the model that prepared it, which must also answer it after a change of the model."""

    served: Served
    prepared: Prepared
    client: str
    future: Future[Answer] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)
    prompts: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class Batcher:
    """Queue that gathers images for up to `max_wait_ms` and answers them in one forward pass.

    New texts are encoded first, as many per step as a forward pass has images. On a CPU a forward pass takes as long
    as its images take one by one, so while several clients send requests, a step there is one image or text of one
    client: no client waits for the batch of another.
    """

    def __init__(self, settings: Batching, metrics: Metrics, accepted: Callable[[], int] | None = None) -> None:
        """Start the thread.

        Args:
            settings: sizes and times of batches.
            metrics: where steps are counted.
            accepted: returns how many images are accepted and not yet answered, also those that are being read; when
                all of them are here, none is waited for. None: that is not known.
        """
        self._settings = settings
        self._metrics = metrics
        self._accepted = accepted
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._turns: Turns[_Job] = Turns()
        self._seen: dict[str, float] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="umgclip-model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while the model's thread runs; without it no request is answered."""
        return self._thread.is_alive()

    def submit(self, served: Served, prepared: Prepared, client: str = "") -> Future[Answer]:
        """Put an image into the queue; the work for a cancelled future ends before its next step."""
        job = _Job(served, prepared, client)
        self._queue.put(job)
        return job.future

    def close(self, timeout_s: float) -> None:
        """Answer the images in the queue, then end the thread."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._collect()
            if len(self._turns):
                self._step()
            elif self._closing:
                return

    def _collect(self) -> None:
        """Take new jobs; if there is no work, wait for a job, and then a little for others to share its forward."""
        if not len(self._turns) and not self._closing:
            self._enter(self._queue.get())
        until = time.perf_counter() + self._settings.max_wait_ms / 1000
        while not self._closing:
            gathered = self._has_enough()
            try:
                self._enter(self._queue.get(timeout=0 if gathered else max(0.0, until - time.perf_counter())))
            except queue.Empty:
                return

    def _enter(self, job: _Job | None) -> None:
        if job is None:
            self._closing = True
            return
        self._seen[job.client] = time.perf_counter()
        try:
            prompts = job.served.answerer.prompts(job.prepared)
            job.prompts = job.served.answerer.known(prompts)
            job.missing = [prompt for prompt in prompts if prompt not in job.prompts]
        except Exception as error:  # noqa: BLE001 - the waiting request gets it
            _fail([job], error)
            return
        self._turns.put(job.client, job)

    def _has_enough(self) -> bool:
        if len(self._turns) >= self._settings.max_images or self._is_shared():
            return True
        if self._accepted is not None and len(self._turns) >= self._accepted():
            return True
        return bool(len(self._turns) and self._turns.first(self._turns.next()).missing)

    def _is_shared(self) -> bool:
        """Return whether several clients sent requests in the last two seconds."""
        now = time.perf_counter()
        self._seen = {client: at for client, at in self._seen.items() if now - at < _LATELY_S}
        return len(self._seen) > 1

    def _step(self) -> None:
        client = self._turns.next()
        job = self._turns.first(client)
        if job.future.cancelled():
            self._turns.take(client)
            return
        alone = self._is_shared() and job.served.answerer.device.type == "cpu"
        most = 1 if alone else self._settings.max_images
        if job.missing:
            self._embed(client, job, most)
            return
        jobs = self._batch(most)
        self._answer(job.served, jobs)

    def _embed(self, client: str, job: _Job, most: int) -> None:
        """Encode some of a job's texts; the job stays first in its client's line."""
        if self._refresh(job):
            return
        fresh = job.missing[:most]
        try:
            job.prompts |= job.served.answerer.embed(fresh)
            job.missing = job.missing[most:]
        except Exception as error:
            _logger.exception("cannot encode %d texts", len(fresh))
            _fail([self._turns.take(client)], error)
        finally:
            self._turns.charge(client, len(fresh))

    def _batch(self, most: int) -> list[_Job]:
        """Take ready jobs from the clients in turn; all are of the model version of the first."""
        jobs: list[_Job] = []
        while len(jobs) < most and len(self._turns):
            client = self._turns.next()
            job = self._turns.first(client)
            if job.future.cancelled():
                self._turns.take(client)
                continue
            if jobs and job.served is not jobs[0].served:
                break
            if job.missing and not self._refresh(job):
                break
            jobs.append(self._turns.take(client))
            self._turns.charge(client, 1)
        return jobs

    def _refresh(self, job: _Job) -> bool:
        """Look a job's missing texts up again and return whether all are known; images of a request share them."""
        job.prompts |= job.served.answerer.known(job.missing, again=True)
        job.missing = [prompt for prompt in job.missing if prompt not in job.prompts]
        return not job.missing

    def _answer(self, served: Served, jobs: list[_Job]) -> None:
        began = time.perf_counter()
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        if not jobs:
            return
        for job in jobs:
            self._metrics.waited.observe(began - job.since)
        prompts = {prompt: row for job in jobs for prompt, row in job.prompts.items()}
        try:
            answers = served.answerer.answer([job.prepared for job in jobs], prompts)
        except Exception as error:
            _logger.exception("a forward pass of %d images failed", len(jobs))
            self._alone(served, jobs, error)
            return
        self._metrics.batch.observe(len(jobs))
        self._metrics.forward.observe(time.perf_counter() - began)
        for job, answer in zip(jobs, answers, strict=True):
            job.future.set_result(answer)

    def _alone(self, served: Served, jobs: list[_Job], error: Exception) -> None:
        """Answer each image of a failed batch alone, so that one bad image does not fail the others."""
        for job in jobs:
            if len(jobs) == 1:
                job.future.set_exception(error)
                return
            try:
                job.future.set_result(served.answerer.answer([job.prepared], job.prompts)[0])
            except Exception as failure:  # noqa: BLE001 - the waiting request gets it
                job.future.set_exception(failure)


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)
