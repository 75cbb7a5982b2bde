"""One measurement in a process of its own: processor time of it and its children, and how far its memory rose."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Return processor seconds of this process and its children, wall seconds, and MB of memory while `work` ran.

    The memory is how far that of this process rose, or what `work` returns, as that of a child that it waited for.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins again at what is used now
    resident, began = _status("VmRSS"), _cpu_s()
    started = time.perf_counter()
    answer = work()
    wall, took = time.perf_counter() - started, _cpu_s() - began
    rise = max(_status("VmHWM") - resident, 0.0)
    return {"cpu_s": took, "wall_s": wall, "memory_mb": answer if isinstance(answer, float) else rise}


def in_a_process(name: str, size: int, folder: Path, timeout_s: float) -> dict[str, Any]:
    """Measure a cost at a size in another process; a failure gives its reason instead of numbers."""
    command = [sys.executable, "-m", "benchmarks.growth", "--one", name, str(size), "--work", str(folder)]
    # one thread, so that the processor's time is that of the work
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "GX_ANALYTICS_ENABLED": "false"}
    try:
        done = subprocess.run(  # noqa: S603 - this script
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {timeout_s:g} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return dict(json.loads(lines[-1]))
    told = done.stderr.strip().splitlines()
    return {"failed": f"exit code {done.returncode}: {(told or ['nothing was said'])[-1][:200]}"}


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def _cpu_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
