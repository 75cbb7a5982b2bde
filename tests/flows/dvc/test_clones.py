"""Places of clones: one for each purpose, for one at a time, kept where going on makes sense."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from umgclip.errors import InputError
from umgclip.flows.dvc.clones import claimed_folder, worker_folder
from umgclip.flows.dvc.failures import StageFailed, Unavailable


def attempt(folder: Path, purpose: str, error: BaseException | None = None) -> list[str]:
    """Return the files present at the beginning, and leave a checkpoint."""
    with claimed_folder(folder, purpose) as claimed:
        files = sorted(path.name for path in claimed.iterdir() if path.name != "lock")
        (claimed / "checkpoint").touch()
        if error is not None:
            raise error
    return files


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (None, []),
        (KeyboardInterrupt(), ["checkpoint"]),
        (Unavailable("a worker is lost"), ["checkpoint"]),
        (StageFailed("disk full", 5), ["checkpoint"]),
        (StageFailed("an error in code", 1), ["checkpoint"]),
        (StageFailed("gate closed", 4), []),
        (StageFailed("bad data", 3), []),
        (InputError("no such commit"), []),
    ],
)
def test_a_place_stays_where_the_next_attempt_can_go_on(tmp_path, error, left):
    if error is None:
        attempt(tmp_path, "train")
    else:
        with pytest.raises(type(error)):
            attempt(tmp_path, "train", error)
    assert attempt(tmp_path, "other") == []
    assert attempt(tmp_path, "train") == left
    assert not any(tmp_path.iterdir())


def test_two_at_once_get_two_and_the_dead_own_nothing(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path; from umgclip.flows.dvc.clones import claimed_folder\n"
        "with claimed_folder(Path(sys.argv[1]), 'train') as own: print(own, flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        first = Path(other.stdout.readline().strip())
        with claimed_folder(tmp_path, "train") as second:
            assert first != second
            assert first.is_dir()
    finally:
        other.kill()
        other.communicate()
    with claimed_folder(tmp_path, "train") as again:
        assert again == first


def test_what_nobody_has_used_for_a_week_is_removed_unless_it_is_in_use(tmp_path):
    for purpose in ("old", "new"):
        with pytest.raises(Unavailable):
            attempt(tmp_path, purpose, Unavailable("lost"))
    with pytest.raises(Unavailable), claimed_folder(tmp_path, "old") as old:
        os.utime(old, (time.time() - 8 * 86_400,) * 2)
        assert attempt(tmp_path, "another") == []
        assert (old / "checkpoint").exists()  # ours
        raise Unavailable("lost")
    os.utime(old, (time.time() - 8 * 86_400,) * 2)
    assert attempt(tmp_path, "new") == ["checkpoint"]
    assert not old.exists()


def test_where_places_are(monkeypatch, tmp_path):
    monkeypatch.delenv("UMGCLIP_WORKER_DIR", raising=False)
    assert worker_folder() == Path.home() / ".cache" / "umgclip"
    monkeypatch.setenv("UMGCLIP_WORKER_DIR", str(tmp_path / "here"))
    assert worker_folder() == tmp_path / "here"
