"""A checkpoint that the next worker finds, in a folder and in S3."""

import threading
from pathlib import Path

import pytest

from umgclip.errors import StorageError
from umgclip.flows.dvc.checkpoints import SharedCheckpoint, shared, supported
from umgclip.flows.dvc.failures import StageFailed, Unavailable

FILES = ("curves.csv", "checkpoint.pt")


@pytest.fixture(params=["folder", "s3"])
def remote(request, tmp_path) -> str:
    if request.param == "folder":
        return str(tmp_path / "remote")
    request.getfixturevalue("s3")
    return "s3://bucket/dvc"


def step(root: Path, number: int) -> None:
    """Write what training leaves after a checkpoint: a replaced file and a longer curve."""
    folder = root / "artifacts" / ".train"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "curves.csv").open("a") as curves:
        curves.write(f"{number}\n")
    (folder / "new").write_text(f"step {number}")
    (folder / "new").replace(folder / "checkpoint.pt")


def read(root: Path) -> tuple[str, str]:
    curves, checkpoint = ((root / "artifacts" / ".train" / name).read_text() for name in FILES)
    return checkpoint, curves


def test_another_worker_goes_on_where_the_lost_one_was(remote, tmp_path, wait_until):
    one, two, checkpoint = tmp_path / "one", tmp_path / "two", SharedCheckpoint(remote, "key")
    messages: list[str] = []
    with pytest.raises(KeyboardInterrupt), shared(one, "train", remote, "key", messages.append, every_s=0.05):
        assert not checkpoint.has("checkpoint.pt")
        step(one, 1)
        # while the stage runs: a worker that is killed shares nothing more
        assert wait_until(lambda: checkpoint.has("checkpoint.pt"), 10)
        step(one, 2)
        raise KeyboardInterrupt
    step(one, 3)
    assert messages == []
    with pytest.raises(Unavailable), shared(two, "train", remote, "key", messages.append, every_s=60):
        assert read(two) == ("step 2", "1\n2\n")
        step(two, 3)
        raise Unavailable("lost")
    assert messages == [f"resuming from the checkpoint in {checkpoint}"]
    # the first worker has an older one of its own
    step(one, 1)
    with shared(one, "train", remote, "key", messages.append):
        assert read(one) == ("step 3", "1\n2\n3\n")
    assert not any(checkpoint.has(name) for name in FILES)


def test_a_stage_that_says_no_leaves_none(remote, tmp_path):
    with pytest.raises(Unavailable), shared(tmp_path, "train", remote, "key", print):
        step(tmp_path, 1)
        raise Unavailable("lost")
    assert SharedCheckpoint(remote, "key").has("checkpoint.pt")
    with pytest.raises(StageFailed), shared(tmp_path, "train", remote, "key", print):
        raise StageFailed("no")
    assert not SharedCheckpoint(remote, "key").has("checkpoint.pt")


def test_what_cannot_be_shared_is_said_and_the_stage_goes_on(tmp_path, monkeypatch, wait_until):
    def refuse(_self: SharedCheckpoint, _path: Path, _name: str) -> None:
        raise StorageError("slow down")

    monkeypatch.setattr(SharedCheckpoint, "put", refuse)
    messages: list[str] = []
    with shared(tmp_path, "train", str(tmp_path / "remote"), "key", messages.append, every_s=0.05):
        step(tmp_path, 1)
        assert wait_until(lambda: bool(messages), 10)
    assert messages[0].startswith(f"could not share the checkpoint in {tmp_path}/remote/checkpoints/key: slow down")


def test_only_training_has_one_and_only_where_it_can_be_kept(tmp_path):
    before = threading.active_count()
    for stage, url in (("evaluate", str(tmp_path)), ("train", "ssh://host/dvc")):
        with shared(tmp_path, stage, url, "key", print):
            assert threading.active_count() == before
    assert [supported(url) for url in ("s3://b/p", "/mnt/dvc", "gs://b/p")] == [True, True, False]
