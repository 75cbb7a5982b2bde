"""Workers of annotation on one machine end with the run, however that ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from umgclip.errors import DataError
from umgclip.params import AnnotateParams

PROGRAM = textwrap.dedent(
    """
    import multiprocessing, os, time
    from umgclip.annotate.engines.local import run_jobs
    from umgclip.params import AnnotateParams

    class Stuck:
        @property
        def params(self):
            if multiprocessing.parent_process() is None:
                return AnnotateParams(workers=1)
            print(os.getpid(), flush=True)
            time.sleep(600)  # in the middle of a long batch

    class Report:
        def workers(self, alive):
            pass

    if __name__ == "__main__":
        run_jobs(["a shard"], Stuck(), Report())
    """
)


def test_a_killed_run_leaves_no_worker(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as running:
        worker = psutil.Process(int(running.stdout.readline()))
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        gone, alive = psutil.wait_procs([worker], timeout=20)
        for each in alive:
            each.kill()
    assert (gone, alive) == ([worker], [])


def test_a_run_that_cannot_be_planned_leaves_no_worker(tmp_path):
    from umgclip.annotate import stage

    inputs = stage.AnnotateInputs(tmp_path / "none", tmp_path, tmp_path / "metrics.json")
    before = set(multiprocessing.active_children())
    with pytest.raises(DataError, match="expected a dataset"):
        stage.run(AnnotateParams(), inputs, tmp_path / "out")
    assert set(multiprocessing.active_children()) == before
