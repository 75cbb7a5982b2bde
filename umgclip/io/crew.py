"""Jobs shared out to processes of this machine, each of which may die without taking the others along.

A process that dies is replaced, and its job begun again. The processes share nothing with each other, no queue and no
lock, so that a death is only its own.
"""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from umgclip.errors import UmgclipError
from umgclip.io.processes import begin_worker, leave_pandas_out
from umgclip.safe_text import line_of

J = TypeVar("J")
Tell = Callable[[Any], None]
DoJob = Callable[[J, Tell], None]
_GONE_AFTER_S = 10.0  # a process that has closed its pipe is about to end


@dataclass(frozen=True)
class Orders(Generic[J]):
    """The callbacks of a crew: they do its work, and receive what happens.

    Attributes:
        make: called first in each process, so it must be picklable; returns the function that does a job and reports.
        hear: called with a job and each of its reports, including those of a process that died afterwards.
        lost: called with a job whose process died, and the exit code; returns the job to start again, or raises.
        busy: called with the number of processes at work.
    """

    make: Callable[[], DoJob[J]]
    hear: Callable[[J, Any], None]
    lost: Callable[[J, int | None], J]
    busy: Callable[[int], None] = lambda _count: None


class Recruit:
    """A process with a pipe to it, which may start before its work is known; as a block, it ends with that.

    Args:
        work: what the process does, called with its end of the pipe and `given`.
        given: picklable.
    """

    def __init__(self, work: Callable[..., None], *given: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=work, args=(theirs, *given), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Recruit:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process, whatever it does, unless it has ended."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def recruit(module: str = "") -> Recruit:
    """Start a process for a crew to come, so that its imports take no time once the jobs are known.

    Args:
        module: full name of the module with the work.
    """
    return Recruit(_work, module)


def run_crew(jobs: Sequence[J], workers: int, orders: Orders[J], early: Recruit | None = None) -> None:
    """Have all jobs done, in their order.

    Args:
        jobs: picklable.
        workers: processes, at least 1.
        orders: what to do.
        early: a process that was started before, to be the first one.

    Raises:
        Exception: what a job raised, or `orders.lost`.
    """
    if not jobs:
        return
    waiting = list(jobs)[::-1]
    crew = [_Slot(orders, early if number == 0 else None) for number in range(min(workers, len(waiting)))]
    try:
        for slot in crew:
            slot.give(waiting.pop())
        orders.busy(len(crew))
        while busy := [slot for slot in crew if slot.job is not None]:
            ready = wait([slot.pipe for slot in busy])
            for slot in busy:
                if slot.pipe in ready:
                    slot.hear()
                    if slot.job is None and waiting:
                        slot.give(waiting.pop())
            orders.busy(sum(slot.job is not None for slot in crew))
    finally:
        for slot in crew:
            slot.end()
        orders.busy(0)


def manner_of_death(code: int | None) -> str:
    """Return an exit code in words: `SIGSEGV`, `SIGKILL (out of memory?)`, `exit code 3`."""
    if code is None or code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        return f"{name} (out of memory?)" if name == "SIGKILL" else name
    return f"signal {-code}"


class _Slot(Generic[J]):
    """A process that takes one job after the other, and its successor when it dies."""

    def __init__(self, orders: Orders[J], early: Recruit | None) -> None:
        self._orders = orders
        self.job: J | None = None
        self._start(early or recruit())

    def _start(self, member: Recruit) -> None:
        self._member, self.pipe = member, member.pipe
        self._send(self._orders.make)

    def _send(self, content: Any) -> None:  # noqa: ANN401 - orders, or a job
        with suppress(BrokenPipeError):  # it is dead, which `hear` will find
            self.pipe.send(content)

    def give(self, job: J) -> None:
        """Let it work on a job."""
        self.job = job
        self._send((job,))

    def hear(self) -> None:
        """Receive what a worker reports of its job: progress, the end or an error; None if the worker is dead."""
        assert self.job is not None  # noqa: S101 - for the type checker; only the busy are heard
        try:
            kind, content = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._replace(self.job)
            return
        if kind == "error":
            raise content
        if kind == "end":
            self.job = None
        else:
            self._orders.hear(self.job, content)

    def _replace(self, job: J) -> None:
        self._member.process.join(_GONE_AFTER_S)
        code = self._member.process.exitcode
        self.end()
        again = self._orders.lost(job, code)
        self._start(recruit())
        self.give(again)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._member.end()


def _work(pipe: Connection, module: str) -> None:
    """Run jobs in a worker process until the parent closes the pipe."""
    begin_worker()
    leave_pandas_out()
    try:
        if module:
            importlib.import_module(module)
        do_job = pipe.recv()()
        while True:
            (job,) = pipe.recv()
            do_job(job, lambda content: pipe.send(("told", content)))
            pipe.send(("end", None))
    except (EOFError, BrokenPipeError):
        return  # the parent has closed the pipe
    except Exception as error:  # noqa: BLE001 - raised again by the parent
        pipe.send(("error", _portable(error)))


def _portable(error: Exception) -> Exception:
    """Return an exception that another process can unpickle, with its traceback where that helps."""
    if not isinstance(error, UmgclipError):
        error.add_note(traceback.format_exc())  # its traceback stays here
    try:
        return error if isinstance(pickle.loads(pickle.dumps(error)), Exception) else error  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever its class makes of that
        return RuntimeError(line_of(error))
