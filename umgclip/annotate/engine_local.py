"""Annotate shards on one machine, each by one of several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from umgclip.annotate.tally import Report, Tally
from umgclip.annotate.work import Job, Recipe, ShardWorker
from umgclip.errors import UmgclipError
from umgclip.params import threads


def run_jobs(jobs: Sequence[Job], recipe: Recipe, report: Report) -> None:
    """Annotate every job that is not done.

    Args:
        jobs: the shards.
        recipe: what a worker needs.
        report: told of all that is done, also before this run.

    Raises:
        DataError: a shard is damaged.
        UmgclipError: a worker process died.
    """
    todo = [job for job in jobs if not job.is_done()]
    report.add(Tally(sum(job.info.samples for job in jobs) - sum(job.info.samples for job in todo)))
    if not todo:
        return
    crew = [_Worker(recipe) for _ in range(min(recipe.params.workers or threads(), len(todo)))]
    report.workers(len(crew))
    waiting = todo[::-1]
    try:
        for worker in crew:
            worker.give(waiting.pop())
        while any(worker.busy for worker in crew):
            ready = wait([worker.pipe for worker in crew if worker.busy])
            for worker in crew:
                if worker.pipe in ready:
                    answer = worker.hear()
                    if isinstance(answer, Tally):
                        report.add(answer)
                    elif waiting:
                        worker.give(waiting.pop())
    finally:
        for worker in crew:
            worker.end()
        report.workers(0)


class _Worker:
    """A process that takes one job after the other; it shares nothing with the others, so that its death is its own."""

    def __init__(self, recipe: Recipe) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_work, args=(recipe, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.busy = False

    def give(self, job: Job) -> None:
        self.pipe.send(job)
        self.busy = True

    def hear(self) -> Tally | None:
        """A tally of the job in work, or None: it is done."""
        try:
            answer = self.pipe.recv()
        except EOFError as error:
            raise UmgclipError("annotate: a worker process died (out of memory?); run again to go on") from error
        if isinstance(answer, BaseException):
            raise answer
        self.busy = answer is not None
        return answer

    def end(self) -> None:
        self._process.terminate()
        self._process.join()
        self.pipe.close()


def _work(recipe: Recipe, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent ends its workers
    try:
        worker = ShardWorker(recipe)
        while True:
            worker.annotate(pipe.recv(), pipe.send)
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        return  # nobody listens any more
    except Exception as error:  # noqa: BLE001 - raised again by the parent
        pipe.send(error)
