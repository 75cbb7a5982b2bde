"""What is drawn from the records of the training shards, each of which is read for it once."""

import os
import shutil
import signal
import threading
import time
from contextlib import suppress

import psutil
import pytest

from umgclip.annotate import vocabulary as module
from umgclip.annotate.plan import jobs_of
from umgclip.annotate.vocabulary import Names, read_names, read_shard_names
from umgclip.data.stream import read_raw
from umgclip.data.vocabulary import ChunkCounts
from umgclip.errors import DataError
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.places import Folder, place_at
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.params import AnnotateParams
from umgclip.records import Region, Text, parse_record


@pytest.fixture
def data(few, tmp_path):
    """Two shards; an image of the second has names of its own, another no record that can be read."""
    folder = tmp_path / "train"
    shutil.copytree(few / "train", folder)
    rewrite(folder, 1, {0: named, 2: lambda raw: b"{"})
    return folder


def named(raw):
    tag = Text(text="zebra", source="human")
    box = (0.0, 0.0, 4.0, 4.0)
    regions = [Region(id="a", box_xyxy=box, is_stuff=True, tags=[Text(text="gravel \ud7ff\u00e9", source="human")])]
    record = parse_record(raw.json, where=raw.key).model_copy(update={"tags": [tag], "regions": regions})
    return record.to_json()


def rewrite(folder, number, changes):
    """Another shard in place of one: records of some samples are changed."""
    manifest = read_manifest(folder)
    path = folder / manifest.shards[number].path
    raws = list(read_shard(path))
    path.unlink()
    writer = ShardWriter(path)
    for at, raw in enumerate(raws):
        json = changes[at](raw) if at in changes else raw.json
        writer.write(RawSample(raw.key, raw.image, raw.extension, json))
    writer.close()
    shards = [*manifest.shards]
    shards[number] = describe_shard(path, len(raws))
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))


@pytest.fixture
def drawn(data, monkeypatch):
    """Draw what the shards say, and tell the shards that were read for it."""
    read = []

    def count(source, sha256):
        read.append(source.rpartition("/")[2])
        return read_shard_at(source, sha256)

    read_shard_at = module.read_shard_at
    monkeypatch.setattr(module, "read_shard_at", count)

    def draw(store=None):
        read.clear()
        names = Names()
        for job in jobs_of(data, read_manifest(data), "train"):
            names.add(read_shard_names(job, store))
        return names, list(read)

    return draw


NAMES = ["train-000000.tar", "train-000001.tar"]


def expected(data):
    """Chunks of the first caption of every record that can be read, and their number, as a plain loop finds them."""
    found = []
    for _, raw in read_raw(data):
        try:
            found.append(parse_record(raw.json, where=raw.key).captions[0].text)
        except DataError:
            continue
    chunks = ChunkCounts()
    chunks.add(found)
    return chunks, len(found)


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_shard_is_read_once(data, drawn, tmp_path, where, request):
    if where == "bucket":
        request.getfixturevalue("s3")
    store = place_at(str(tmp_path / "answers") if where == "folder" else "s3://bucket/answers")
    first, read = drawn(store)
    assert read == NAMES
    assert (first.chunks, 11) == expected(data)
    assert ({"zebra"} <= first.given.things, first.given.stuff) == (True, {"gravel \ud7ff\u00e9"})
    assert drawn(store) == (first, [])
    assert drawn() == (first, NAMES)


def test_a_shard_that_changed_is_read_again(data, drawn, tmp_path):
    store = Folder(tmp_path / "answers")
    before, _ = drawn(store)
    rewrite(data, 0, {1: lambda raw: b"{"})
    after, read = drawn(store)
    assert read == NAMES[:1]
    assert after.chunks != before.chunks
    assert (after.chunks, 10) == expected(data)


def test_an_entry_that_was_damaged_is_read_again(data, drawn, tmp_path):
    store = Folder(tmp_path / "answers")
    whole = drawn(store)
    entry = next(store.path.rglob("*.parquet"))
    good = entry.read_bytes()
    for at in range(0, len(good), 29):
        entry.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        assert drawn(store)[0] == whole[0]
    for size in (0, 1, len(good) // 2, len(good) - 1):
        entry.write_bytes(good[:size])
        again = drawn(store)
        assert again[0] == whole[0]
        assert len(again[1]) == 1
    assert drawn(store)[1] == []


def test_nothing_is_kept_of_a_shard_that_is_not_the_manifests(data, drawn, tmp_path):
    store = Folder(tmp_path / "answers")
    manifest = read_manifest(data)
    rewrite(data, 0, {1: lambda raw: b"{"})
    write_manifest(data, manifest)
    for _ in range(2):
        found, read = drawn(store)
        assert (found.chunks, 10) == expected(data)
        assert NAMES[0] in read


def test_processes_read_what_one_reads(data, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FEW", 0)
    jobs, params = jobs_of(data, read_manifest(data), "train"), AnnotateParams(workers=2, store=str(tmp_path / "kept"))
    assert read_names(jobs, params) == drawn()[0]
    assert drawn(Folder(tmp_path / "kept"))[1] == []  # they kept it
    path = data / jobs[1].info.path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=jobs[1].info.path):
        read_names(jobs, params.model_copy(update={"store": None}))


def test_a_reader_that_is_killed_loses_nothing(data, drawn, monkeypatch):
    monkeypatch.setattr(module, "_FEW", 0)
    jobs = jobs_of(data, read_manifest(data), "train") * 6
    killed = []

    def kill():
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):  # one that has ended, perhaps of another test
                    if "spawn_main" in " ".join(child.cmdline()):
                        os.kill(child.pid, signal.SIGKILL)
                        killed.append(child.pid)
                        return
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    found = read_names(jobs, AnnotateParams(workers=2))
    thread.join()
    assert killed
    once = drawn()[0]
    assert found.chunks.seen == {name: 6 * count for name, count in once.chunks.seen.items()}
    assert found.given == once.given
