"""Processes that die over one thing of a part: it is named and left out, the others are done."""

import os
import signal
from functools import partial

import pytest

from umgclip.errors import DataError, UmgclipError
from umgclip.io.crew import Orders, manner_of_death, recruit, run_crew
from umgclip.io.survivors import MOST_DEATHS, Deaths, _Job, _Watch, run_parts


def do_part(folder, deadly, part, advance, deaths):
    """Write what became of each of five things."""
    done = []
    for number in range(5):
        if number in deaths.left_out():
            done.append(deaths.left_out()[number])
        elif (part, number) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            done.append("done")
        advance(1)
    (folder / part).write_text("\n".join(done))


def test_the_thing_that_ends_processes_is_left_out_and_all_others_are_done(tmp_path):
    told = []
    run_parts(partial(do_part, tmp_path, ("b", 3)), ["a", "b", "c"], 2, told.append, "x: workers die")
    died = "the process that worked on it died 2 times, by SIGKILL (out of memory?)"
    assert {path.name: path.read_text().split("\n") for path in tmp_path.iterdir()} == {
        "a": ["done"] * 5,
        "b": ["done", "done", "done", died, "done"],
        "c": ["done"] * 5,
    }
    assert sum(told) == 15


def fail(_job, _tell):
    raise OddError("reason", "what was wrong")


class OddError(DataError):
    """Cannot be read by another process: it wants two words and keeps one."""

    def __init__(self, reason, detail):
        super().__init__(detail)
        self.reason = reason


def test_an_error_that_cannot_travel_is_told_in_words():
    with pytest.raises(RuntimeError, match="OddError: what was wrong"):
        run_crew([1], 1, Orders(lambda_free, lambda _job, _said: None, lambda job, _code: job))


def lambda_free():
    return fail


def tell_who(_job, tell):
    tell(os.getpid())


def make_tell_who():
    return tell_who


def test_a_process_that_was_started_early_is_the_first_of_the_crew():
    told = []
    orders = Orders(make_tell_who, lambda _job, who: told.append(who), lambda job, _code: job)
    with recruit("umgclip.io.survivors") as early:
        run_crew([1, 2], 1, orders, early)
    assert told == [early.process.pid] * 2


def test_a_process_that_was_started_in_vain_ends():
    with recruit("umgclip.io.survivors") as early:
        pass
    assert early.process.exitcode is not None


def test_a_death_before_the_first_job_is_made_good():
    told, codes = [], []
    orders = Orders(make_tell_who, lambda _job, who: told.append(who), lambda job, code: codes.append(code) or job)
    with recruit("umgclip.io.survivors") as early:
        early.process.kill()
        early.process.join()
        run_crew([1], 1, orders, early)
    assert codes == [-signal.SIGKILL]
    assert len(told) == 1


def test_processes_that_die_with_nothing_to_blame_end_the_run():
    told = []
    watch, job = _Watch(told.append, "import: workers die over and over"), _Job(3, "part 3")
    for _ in range(3):
        watch.hear(job, 1)
        job = watch.lost(job, -9)
    assert list(job.deaths.left_out()) == [1]
    assert sum(told) == 0
    watch.hear(job, 1)
    said = r"over and over \(4 worker processes died, the last by SIGKILL .* after 1 images of part 3; what is done"
    with pytest.raises(UmgclipError, match=said):
        watch.lost(job, -9)


def test_many_deadly_things_end_the_run():
    watch, job = _Watch(lambda _count: None, "import: workers die"), _Job(0, "part 0", Deaths())
    with pytest.raises(UmgclipError, match=f"{MOST_DEATHS + 1} worker processes died"):
        for number in range(MOST_DEATHS + 1):
            watch.hear(job, number // 2)
            job = watch.lost(job, -11)


def test_exit_codes_in_words():
    assert [manner_of_death(code) for code in (-11, -9, 3, None)] == [
        "SIGSEGV",
        "SIGKILL (out of memory?)",
        "exit code 3",
        "exit code None",
    ]
