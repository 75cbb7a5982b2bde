"""Annotate shards on one machine in several processes; a process that dies is replaced."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.progress import Report, Tally
from umgclip.errors import UmgclipError
from umgclip.io.crew import Recruit
from umgclip.io.processes import begin_worker, leave_pandas_out
from umgclip.params import threads


def recruit() -> Recruit:
    """Start a worker before there is a recipe, so that it imports its libraries while the run is planned."""
    return Recruit(_work)


def run_jobs(jobs: Sequence[Job], recipe: Recipe, report: Report, early: Recruit | None = None) -> None:
    """Annotate the shards of some jobs in processes of this machine.

    Args:
        jobs: shards that are not done.
        recipe: what a worker needs.
        report: receives the counts of all work; may end the run by raising an exception.
        early: a worker that was started before, to be the first one.

    Raises:
        DataError: a shard is damaged.
        UmgclipError: workers keep dying, however often they are replaced.
    """
    if not jobs:
        return
    waiting = list(jobs)[::-1]
    workers = min(recipe.params.workers or threads(), len(waiting))
    crew = [_Slot(recipe, early if number == 0 else None) for number in range(workers)]
    try:
        for slot in crew:
            slot.give(waiting.pop())
        report.workers(len(crew))
        while busy := [slot for slot in crew if slot.job is not None]:
            ready = wait([slot.pipe for slot in busy])
            for slot in busy:
                if slot.pipe in ready:
                    slot.hear(report)
                    if slot.job is None and waiting:
                        slot.give(waiting.pop())
            report.workers(sum(slot.job is not None for slot in crew))
    finally:
        for slot in crew:
            slot.end()
        report.workers(0)


class _Slot:
    """A process that does one job after the other, replaced by another when it dies.

    Processes share nothing, no queue and no lock, so that the death of one does not affect the others.
    """

    def __init__(self, recipe: Recipe, early: Recruit | None) -> None:
        self._recipe = recipe
        self._told = Tally()  # counts of the current job
        self._deaths = 0  # deaths in a row without any work in between
        self.job: Job | None = None
        self._start(early or recruit())

    def _start(self, worker: Recruit) -> None:
        self._worker, self.pipe = worker, worker.pipe
        self._send(self._recipe)

    def _send(self, content: Recipe | Job) -> None:
        with suppress(BrokenPipeError):  # it is dead, which `hear` will notice
            self.pipe.send(content)

    def give(self, job: Job) -> None:
        """Send a job to the process."""
        self.job, self._told = job, Tally()
        self._send(job)

    def hear(self, report: Report) -> None:
        """Receive a message of the process: counts, the end of its job, or an error; replace a process that is dead."""
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._replace(report)
            return
        if isinstance(message, BaseException):
            raise message
        if message is None:
            self.job = None
        else:
            self._deaths = 0
            self._told.add(message)
            report.add(message)

    def _replace(self, report: Report) -> None:
        self.end()
        self._deaths += 1
        # the first death counts against no sample, later ones against a batch, then against its first image
        if self._deaths > 2 * self._recipe.params.attempts + 1:
            raise UmgclipError(
                f"annotate: {self._deaths} workers died one after the other (the last with exit code "
                f"{self._worker.process.exitcode}; -9: killed, perhaps because memory ran out) before any image was "
                "done; to need less memory, set fewer annotate.workers, a smaller annotate.batch or smaller models"
            )
        report.add(self._told.taken_back())
        job = self.job
        self._start(recruit())
        if job is not None:
            self.give(job)

    def end(self) -> None:
        """Terminate the process and close its pipe."""
        self._worker.end()


def _work(pipe: Connection) -> None:
    """Run a worker process until its parent closes the pipe."""
    begin_worker()
    leave_pandas_out()
    # imported here, so that a process that only waits for workers starts without torch
    import torch

    from umgclip.annotate.worker import LOST_DEVICE, ShardWorker

    try:
        worker = ShardWorker(pipe.recv())
        while True:
            worker.annotate(pipe.recv(), pipe.send)
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        return  # the parent has gone
    except torch.AcceleratorError:
        os._exit(LOST_DEVICE)  # this process can no longer use its device; the next process resumes
    except Exception as error:  # noqa: BLE001 - raised again by the parent
        if not isinstance(error, UmgclipError):
            error.add_note(traceback.format_exc())  # the traceback cannot be pickled
        pipe.send(error)
