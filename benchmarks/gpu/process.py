"""A case in a process of its own, which ends when it takes too much time or memory; whatever happens becomes a row."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_POLL_S = 0.2
_END_S = 5.0
# imported once by a server without a device; every process is forked from it, and begins at once
_PRELOAD = [
    "benchmarks.gpu.cases", "benchmarks.gpu.training", "benchmarks.gpu.reading", "benchmarks.gpu.serving",
    "benchmarks.real_size.measure", "peft", "scipy.optimize",
]  # fmt: skip


def forkserver() -> multiprocessing.context.ForkServerContext:
    """Return a context whose processes start with torch and this package imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def run_apart(
    work: Callable[..., dict[str, Any]],
    arguments: tuple[object, ...],
    *,
    limit_s: float,
    memory_gb: float,
    context: multiprocessing.context.BaseContext,
) -> dict[str, Any]:
    """Call a function in another process.

    Args:
        work: picklable.
        arguments: picklable.
        limit_s: seconds after which the process is ended.
        memory_gb: resident memory at which it is ended.
        context: how processes are started.

    Returns:
        What the function returned as `figures`, or `failed` with the reason; and the `seconds` that it took.
    """
    answers, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, work, arguments))  # type: ignore[attr-defined]
    began, reason, answer = time.monotonic(), None, None
    process.start()
    sender.close()
    while answer is None and reason is None:
        if answers.poll(_POLL_S):
            answer = _received(answers)
            break
        if not process.is_alive():
            break
        if _resident_gb(process.pid) > memory_gb:
            reason = f"more than {memory_gb:g} GB of memory"
        elif time.monotonic() - began > limit_s:
            reason = f"more than {limit_s:.0f} s"
    if reason is not None:
        process.kill()
    process.join(_END_S)
    if process.is_alive():
        process.kill()
        process.join()
    took = {"seconds": round(time.monotonic() - began, 1)}
    if answer is not None:
        return answer | took
    return {"failed": reason or f"the process ended with exit code {process.exitcode}"} | took


def _received(answers: Connection) -> dict[str, Any] | None:
    try:
        return dict(answers.recv())
    except EOFError:  # it ended without an answer
        return None


def _work(sender: Connection, work: Callable[..., dict[str, Any]], arguments: tuple[object, ...]) -> None:
    try:
        sender.send({"figures": work(*arguments)})
    except BaseException as error:  # noqa: BLE001 - whatever it is becomes a row
        lines = str(error).strip().splitlines() or [""]
        sender.send({"failed": f"{type(error).__name__}: {lines[0][:200]}"})


def _resident_gb(pid: int | None) -> float:
    """Return the memory of a process; 0 where the system has no /proc, or it has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * 4096 / 1e9
