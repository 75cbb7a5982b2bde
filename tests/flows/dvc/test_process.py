"""A command and all that it starts: line by line, and gone when we stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from umgclip.flows.dvc.process import CommandSettings, run

# starts a child in its group and one in a session of its own, says their numbers, and waits
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
near, far = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)
print(os.getpid(), near.pid, far.pid, flush=True)
time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


class Enough(BaseException):
    """As an interruption by a scheduler: no Exception."""


def setting(timeout_s: float | None = None, grace_s: float = 5.0) -> CommandSettings:
    return CommandSettings(Path.cwd(), os.environ, timeout_s, grace_s)


def test_lines_come_one_by_one_with_those_of_stderr():
    lines = []
    script = (
        "import sys; print('one\\rtwo'); sys.stdout.flush(); print('three', file=sys.stderr); print('no end', end='')"
    )
    done = run([sys.executable, "-c", script], setting(), lines.append)
    assert lines == ["one", "two", "three", "no end"]
    assert done.lines == tuple(lines)
    assert done.code == 0


def test_lines_come_while_the_command_runs():
    seen = []
    script = "import time; print('now', flush=True); time.sleep(1.5); print('later')"
    run([sys.executable, "-c", script], setting(), lambda line: seen.append((line, time.monotonic())))
    assert seen[1][1] - seen[0][1] > 1


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_exit_codes_are_the_commands_own(script, code):
    assert run(["sh", "-c", script], setting()).code == code


def test_a_command_that_does_not_exist_says_so():
    done = run(["no-such-command"], setting())
    assert done.code == 127
    assert "no-such-command: No such file" in done.text


def test_an_interruption_ends_children_and_grandchildren(alive):
    pids = []

    def stop(line: str) -> None:
        pids.extend(map(int, line.split()))
        raise Enough

    with pytest.raises(Enough):
        run([sys.executable, "-c", FAMILY], setting(), stop)
    assert len(pids) == 3
    assert not any(map(alive, pids))


def test_what_is_deaf_to_sigterm_is_killed_after_the_grace():
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"took longer than 1 s"):
        run([sys.executable, "-c", DEAF], setting(timeout_s=1, grace_s=1))
    assert 1.5 < time.monotonic() - started < 10


def test_a_child_that_a_finished_command_leaves_behind_is_ended(alive):
    lines = []
    script = FAMILY.rpartition("time.sleep")[0]
    done = run([sys.executable, "-c", script], setting(), lines.append)
    assert done.code == 0
    assert not any(alive(int(pid)) for pid in lines[0].split())


def test_the_death_of_the_starter_ends_everything(tmp_path, alive, wait_until):
    """Nobody gets the chance to clean up: the starter is killed with signal 9."""
    note = tmp_path / "pids"
    script = (
        "import os, sys; from pathlib import Path; from umgclip.flows.dvc.process import CommandSettings, run\n"
        f"run([sys.executable, '-c', {FAMILY!r}], CommandSettings(Path.cwd(), os.environ, grace_s=2), "
        f"Path({str(note)!r}).write_text)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script])
    assert wait_until(lambda: note.is_file() and len(note.read_text().split()) == 3)
    pids = [int(pid) for pid in note.read_text().split()]
    assert all(map(alive, pids))
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert wait_until(lambda: not any(map(alive, pids)))
