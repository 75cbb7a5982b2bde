"""What a command shows while it works: counts, rates, the time left, the step; never silent."""

import logging
import time

import pytest

from umgclip import stage
from umgclip.cli.habits import output, progress
from umgclip.cli.habits.progress import PULSE, StageProgress


@pytest.fixture
def running(monkeypatch):
    """A command whose lines come every hundredth of a second."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.01)
    monkeypatch.setattr(progress, "_TICK_S", 0.005)
    output.reset().command = "train"
    PULSE.begin()
    yield
    PULSE.end()
    output.reset()


def test_a_log_has_done_total_share_time_left_rate_and_step(running, capsys):
    bar = StageProgress("train", 8, " steps")
    stage.begin("training")
    time.sleep(0.05)
    bar.advance(2, {"loss": 0.5})
    bar.close()
    line = capsys.readouterr().err.splitlines()[-1]

    assert line.startswith("train: 2/8 (25 %) in 00:00, ")
    assert " to go, " in line
    assert "steps/s" in line
    assert line.endswith("training, loss 0.5")


def test_a_count_that_stands_still_is_told_too(running, capsys):
    bar = StageProgress("train", 8, " steps")
    time.sleep(0.2)
    bar.close()

    assert capsys.readouterr().err.count("train: 0/8 (0 %)") > 3


def test_a_step_without_a_count_is_told(running, capsys):
    stage.begin("writing the report")
    time.sleep(0.1)

    assert "train: writing the report, 00:00 so far" in capsys.readouterr().err


def test_a_counted_step_has_a_count_of_its_own(running, capsys):
    advance = stage.begin("checking", 3, "tables")
    time.sleep(0.05)
    advance(1)
    stage.begin("writing")
    told = capsys.readouterr().err

    assert "train, checking: 1/3 (33 %)" in told
    assert "tables/s" in told


def test_a_quiet_command_says_nothing(running, capsys):
    output.choose("quiet")
    capsys.readouterr()  # on a busy machine the pulse may beat before
    bar = StageProgress("train", 8, " steps")
    stage.begin("training")
    time.sleep(0.05)
    bar.advance(8)
    bar.close()

    assert capsys.readouterr().err == ""


def test_steps_have_their_time_in_the_log_of_a_verbose_command(running, caplog):
    output.choose("verbose")
    with caplog.at_level(logging.DEBUG, "umgclip"):
        stage.begin("reading")
        stage.begin("writing")

    assert "train: reading took 0.0" in caplog.text


def test_a_stage_that_nobody_watches_tells_nobody(capsys):
    stage.listen(None)
    stage.begin("reading")
    stage.begin("checking", 3)(1)

    assert capsys.readouterr() == ("", "")


def test_other_processes_of_a_training_say_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.01)
    monkeypatch.setattr(progress, "_TICK_S", 0.005)
    monkeypatch.setenv("RANK", "1")
    PULSE.begin()
    stage.begin("training")
    time.sleep(0.05)
    PULSE.end()

    assert capsys.readouterr().err == ""


def test_a_terminal_shows_the_step_and_forgets_it_before_the_result(running, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.01)
    stage.begin("writing the report")
    time.sleep(0.1)
    PULSE.clear()
    told = capsys.readouterr().err

    assert "train: writing the report, 00:00 so far" in told
    assert told.rstrip(" ").endswith("\r")
    assert "Traceback" not in told
