"""Pools of processes end with what started them, however that ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from umgclip.io.processes import worker_pool

PROGRAM = textwrap.dedent(
    """
    import os, sys, time
    from umgclip.io.processes import worker_pool

    if __name__ == "__main__":
        with worker_pool(2) as pool:
            print(*{pool.submit(os.getpid).result() for _ in range(50)}, flush=True)
            if sys.argv[1] == "busy":
                for _ in range(2):
                    pool.submit(time.sleep, 60)
            time.sleep(60)
    """
)


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_parent_that_is_killed_leaves_no_worker(tmp_path, state):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    running = subprocess.Popen([sys.executable, str(program), state], stdout=subprocess.PIPE, text=True)
    workers = [psutil.Process(int(pid)) for pid in running.stdout.readline().split()]
    assert workers
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    gone, alive = psutil.wait_procs(workers, timeout=20)
    for each in alive:
        each.kill()
    assert (len(gone), alive) == (len(workers), [])


def test_workers_end_at_once_with_the_block():
    started = time.monotonic()
    with worker_pool(1) as pool:
        worker = psutil.Process(pool.submit(os.getpid).result())
        pool.submit(time.sleep, 100)
    assert not worker.is_running()
    assert time.monotonic() - started < 60


def test_workers_are_set_up_first():
    with worker_pool(1, os.putenv, ("GREETING", "hello")) as pool:
        assert pool.submit(subprocess.check_output, ["sh", "-c", "printf $GREETING"]).result() == b"hello"


@pytest.mark.parametrize("died", ["a process died", False])
def test_a_death_while_another_process_starts_is_told_as_one(monkeypatch, died):
    def start(pool):
        pool._broken = died  # as the thread does that watches the processes
        raise OSError("handle is closed")

    with worker_pool(1) as pool, monkeypatch.context() as patch:
        patch.setattr(ProcessPoolExecutor, "_adjust_process_count", start)
        with pytest.raises(BrokenProcessPool if died else OSError):
            pool.submit(abs, -1)
