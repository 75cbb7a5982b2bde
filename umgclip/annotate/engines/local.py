"""Annotate shards on one machine, each by one of several processes; one that dies is replaced."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.progress import Report, Tally
from umgclip.errors import UmgclipError
from umgclip.io.processes import begin_worker
from umgclip.params import threads


def run_jobs(jobs: Sequence[Job], recipe: Recipe, report: Report) -> None:
    """Annotate jobs.

    Args:
        jobs: shards that are not done.
        recipe: what a worker needs.
        report: told of all that is done; may end the run by raising.

    Raises:
        DataError: a shard is damaged.
        UmgclipError: workers die, however often they are replaced.
    """
    if not jobs:
        return
    waiting = list(jobs)[::-1]
    crew = [_Slot(recipe) for _ in range(min(recipe.params.workers or threads(), len(waiting)))]
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
    """A process that takes one job after the other, and its successor when it dies.

    It shares nothing with the others, no queue and no lock, so that its death is its own.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._told = Tally()  # of the job in work
        self._deaths = 0  # in a row, with nothing done between them
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_work, args=(self._recipe, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        """Let it work on a job."""
        self.job, self._told = job, Tally()
        with suppress(BrokenPipeError):  # it is dead, which `hear` will find
            self.pipe.send(job)

    def hear(self, report: Report) -> None:
        """What it says of its job: counts, the end, an error; or nothing, for it is dead."""
        try:
            said = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._replace(report)
            return
        if isinstance(said, BaseException):
            raise said
        if said is None:
            self.job = None
        else:
            self._deaths = 0
            self._told.add(said)
            report.add(said)

    def _replace(self, report: Report) -> None:
        self.end()
        self._deaths += 1
        # the first death blames nobody, then a batch is tried, then its first image
        if self._deaths > 2 * self._recipe.params.attempts + 1:
            raise UmgclipError(
                f"annotate: {self._deaths} workers died one after the other (the last with exit code "
                f"{self._process.exitcode}; -9: killed, perhaps for want of memory) before anything was done; "
                "fewer annotate.workers, a smaller annotate.batch or smaller models need less memory"
            )
        report.add(self._told.taken_back())
        job = self.job
        self._start()
        if job is not None:
            self.give(job)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.terminate()
        self._process.join()
        self.pipe.close()


def _work(recipe: Recipe, pipe: Connection) -> None:
    """A worker process, to its end."""
    begin_worker()
    # here and not above: who only waits for workers starts without torch
    import torch

    from umgclip.annotate.worker import LOST_DEVICE, ShardWorker

    try:
        worker = ShardWorker(recipe)
        while True:
            worker.annotate(pipe.recv(), pipe.send)
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        return  # nobody listens any more
    except torch.AcceleratorError:
        os._exit(LOST_DEVICE)  # its device answers no other call of this process; the next one goes on
    except Exception as error:  # noqa: BLE001 - raised again by the parent
        if not isinstance(error, UmgclipError):
            error.add_note(traceback.format_exc())  # its traceback stays here
        pipe.send(error)
