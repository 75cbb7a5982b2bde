"""One writer for an output; what is killed locks nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from umgclip.errors import InputError
from umgclip.io.locks import only_writer

HOLD = """
import sys
from pathlib import Path
from umgclip.io.locks import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `out` until it is told to end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "deep" / "out")], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    said = f"--out: process {other.pid} is at work on .*out; wait for it, or name another place"
    with pytest.raises(InputError, match=said), only_writer(tmp_path / "deep" / "out"):
        pytest.fail("two at once")
    with only_writer(tmp_path / "deep" / "another"):
        other.communicate()
    with only_writer(tmp_path / "deep" / "out"):
        pass
    assert list((tmp_path / "deep").iterdir()) == [], "nothing stays"


def test_a_killed_process_leaves_no_lock(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == [".out.lock"]
    with only_writer(tmp_path / "deep" / "out"):
        pass
    assert list((tmp_path / "deep").iterdir()) == []


def test_two_names_of_one_folder_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with (
        only_writer(tmp_path / "link"),
        pytest.raises(InputError, match="is at work on .*real"),
        only_writer(tmp_path / "real"),
    ):
        pytest.fail("two at once")


def test_an_error_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), only_writer(tmp_path / "out"):
        raise KeyboardInterrupt
    with only_writer(tmp_path / "out"):
        pass


def test_folders_that_were_made_for_a_lock_alone_go_with_it(tmp_path):
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "new" / "deep" / "out", tmp_path / "there" / "out"):
        with only_writer(out):
            assert out.parent.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with only_writer(tmp_path / "new" / "deep" / "out"):
        (tmp_path / "new" / "deep" / "out").mkdir()
    assert (tmp_path / "new" / "deep" / "out").is_dir()
