"""Whole runs of the stage: progress, limits, a second try at what failed, processes that are killed."""

import json
import multiprocessing
import os
import re
import signal
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from umgclip.annotate import stage
from umgclip.annotate.annotator import Annotator
from umgclip.annotate.engines import local
from umgclip.annotate.progress import RunProgress, Tally
from umgclip.annotate.rejected import Failure
from umgclip.cli.options import local_or_s3
from umgclip.data.stream import read_raw
from umgclip.errors import DataError, InputError
from umgclip.io.manifest import read_manifest


def samples(dataset):
    return {raw.key: (raw.json, raw.embeddings) for _, raw in read_raw(dataset)}


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def fail(monkeypatch):
    """Let the tagger fail on some images while `failing` holds their keys; tells which images are annotated."""
    annotate, failing, asked = Annotator.__call__, set(), []

    def ask(self, batch):
        asked.extend(one.record.key for one in batch)
        found = annotate(self, batch)
        for one in found:
            if one.record.key in failing:
                one.failures["tagger"] = Failure("busy", "later")
        return found

    monkeypatch.setattr(Annotator, "__call__", ask)
    return failing, asked


@pytest.mark.usefixtures("in_process")
def test_what_failed_is_tried_again_and_all_else_kept(run_stage, few, fail):
    failing, asked = fail
    whole = run_stage("whole", batch=1)
    keys = list(samples(few / "train"))
    failing.update({keys[1], keys[2]})
    out = run_stage("out", batch=1)
    assert list(samples(out / "train")) == [keys[0], *keys[3:]]
    asked.clear()
    run_stage("out", batch=1, options={"retry_failed": True})
    assert asked == [keys[1], keys[2]]
    assert len(samples(out / "train")) == len(keys) - 2
    failing.clear()
    asked.clear()
    run_stage("out", batch=1, options={"retry_failed": True})
    assert asked == [keys[1], keys[2]]
    assert files_of(out) == files_of(whole)
    assert json.loads((out.parent / "out.metrics.json").read_text())["train"]["failed"] == 0


@pytest.mark.usefixtures("in_process")
def test_a_retry_of_nothing_says_so(run_stage):
    with pytest.raises(InputError, match="--retry-failed: expected results of the same params.*found none"):
        run_stage("out", options={"retry_failed": True})


@pytest.mark.usefixtures("in_process")
def test_a_run_ends_as_soon_as_too_many_failed(run_stage, few, fail):
    failing, asked = fail
    failing.update(samples(few / "train"))
    with pytest.raises(
        DataError, match=r"2 of 12 training samples could not be annotated, more than .* = 0.1: "
    ) as ended:
        run_stage("out", max_failed=0.1)
    assert re.search(r": 2 tagger_busy \(e.g. \w+: tagger: busy: later\)$", str(ended.value))
    assert "data verify" not in str(ended.value)
    assert len(asked) == 2


@pytest.mark.usefixtures("in_process")
def test_progress_is_a_file_and_numbers(run_stage, few):
    told, counted = [], []
    out = run_stage("out", options={"watch": told.append, "advance": counted.append})
    state = json.loads((out.parent / ".out-progress.json").read_text())
    assert state["finished"] is True
    assert state["images"]["done"] == state["images"]["total"] == sum(counted) == stage.total_samples(few)
    assert state["failed"] == {}
    assert state["roles"]["region_tagger"]["regions"] > state["roles"]["region_tagger"]["rows"] == 12 + 2
    assert told[-1]["images"] == sum(counted)
    assert {"images_per_s", "failed", "workers", "proposer.rows_per_s", "proposer.regions_per_s"} <= set(told[-1])
    marker = json.loads((out.parent / ".out-markers.json").read_text())["train"]["train-000000.tar"]
    assert {"read", "decode", "annotate", "write", "commit", "store"} == set(marker["timings"])
    assert marker["config"]


def test_what_is_done_again_is_taken_back(tmp_path):
    counted = []
    progress = RunProgress(10, tmp_path / "p.json", counted.append, lambda _: None)
    told = Tally(4, lost=Counter(unreadable=1))
    told.failed["unreadable"] += 1
    progress.add(told)
    progress.add(told.taken_back())
    progress.write()
    state = json.loads((tmp_path / "p.json").read_text())
    assert (state["images"]["done"], state["failed"], progress.done.lost.total(), sum(counted)) == (0, {}, 0, 0)


class Watch:
    """Kills the worker at its first word."""

    killed = 0

    def add(self, tally):
        if tally.images > 0 and not self.killed:
            (worker,) = multiprocessing.active_children()
            os.kill(worker.pid, signal.SIGKILL)
            self.killed = worker.pid

    def workers(self, alive):
        assert alive <= 1


def test_a_worker_that_is_killed_is_replaced(shard):
    watch = Watch()
    local.run_jobs([shard.job("out")], shard.recipe(), watch)
    assert watch.killed
    assert shard.bytes_of("out") == shard.bytes_of("plain")


@pytest.mark.usefixtures("in_process")
def test_shards_come_from_s3_and_go_there(run_stage, few, s3, monkeypatch):
    from umgclip.data.shard_files import ShardFiles
    from umgclip.io.storage import Storage

    storage = Storage()
    for path in few.rglob("*"):
        if path.is_file():
            storage.put(path, s3 / f"data/{path.relative_to(few)}")
    local = run_stage("local")
    settings = {"output": "s3://bucket/annotated", "store": "s3://bucket/answers"}
    out = run_stage("out", data="s3://bucket/data", **settings)
    manifest = read_manifest(out / "train")
    assert all(shard.path.startswith("s3://bucket/annotated/") for shard in manifest.shards)
    assert manifest.digest() == read_manifest(local / "train").digest()
    assert samples(out / "train") == samples(local / "train")
    regions = [pq.read_table(folder / "train" / "regions.parquet") for folder in (local, out)]
    assert regions[0].equals(regions[1])
    assert not list(out.rglob("*.tar"))
    assert sum(1 for _, found in ShardFiles(out / "train", manifest).read(range(2)) for _ in found) == 12
    assert any(entry.location.key.endswith(".done.json") for entry in storage.list(s3 / "annotated/"))
    assert not [entry for entry in storage.list(s3 / "annotated/") if "journal" in entry.location.key]
    # finished shards are found again
    monkeypatch.setattr(Annotator, "__call__", lambda *_: pytest.fail("annotated again"))
    run_stage("out", data="s3://bucket/data", **settings)
    assert read_manifest(out / "train") == manifest


@pytest.mark.usefixtures("in_process")
def test_shards_in_s3_that_are_others_are_refused(run_stage, few, s3, tmp_path):
    import shutil

    from umgclip.io.manifest import write_manifest
    from umgclip.io.storage import Storage

    shutil.copytree(few, tmp_path / "data")
    manifest = read_manifest(few / "train")
    Storage().put(few / "train" / manifest.shards[0].path, s3 / "other.tar")
    shards = [shard.model_copy(update={"path": "s3://bucket/other.tar"}) for shard in manifest.shards[1:2]]
    write_manifest(tmp_path / "data" / "train", manifest.model_copy(update={"shards": shards}))
    with pytest.raises(DataError, match=r"s3://bucket/other.tar: expected sha256 \w+ as in the manifest, got"):
        run_stage("out", data=tmp_path / "data")


def test_the_command_takes_folders_and_prefixes():
    # Typer gives a default as it is, and what is typed as text
    for given, expected in ((Path("data"), Path("data")), ("data", Path("data")), ("s3://b/data", "s3://b/data")):
        assert local_or_s3(given) == expected
