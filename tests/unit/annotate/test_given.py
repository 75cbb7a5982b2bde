"""What is drawn from the captions of the training shards, each of which is read for it once."""

import shutil

import pytest

from umgclip.annotate import given as module
from umgclip.annotate.given import Given, captions
from umgclip.annotate.plan import jobs_of
from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.io.places import Folder, place_at
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.manifest import describe_shard, read_manifest, write_manifest
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
    """Draw what the shards say; gives captions, names, and the shards that were read for it."""
    read = []

    def count(source, sha256):
        read.append(source.rpartition("/")[2])
        return read_shard_at(source, sha256)

    read_shard_at = module.read_shard_at
    monkeypatch.setattr(module, "read_shard_at", count)

    def draw(store=None):
        read.clear()
        given = Given()
        found = list(captions(jobs_of(data, read_manifest(data), "train"), given, store))
        return found, given, list(read)

    return draw


NAMES = ["train-000000.tar", "train-000001.tar"]


def expected(data):
    """The first caption of every record that can be read, as a plain loop finds it."""
    found = []
    for _, raw in read_raw(data):
        try:
            found.append(parse_record(raw.json, where=raw.key).captions[0].text)
        except DataError:
            continue
    return found


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_shard_is_read_once(data, drawn, tmp_path, where, request):
    if where == "bucket":
        request.getfixturevalue("s3")
    store = place_at(str(tmp_path / "answers") if where == "folder" else "s3://bucket/answers")
    first, given, read = drawn(store)
    assert read == NAMES
    assert first == expected(data)
    assert len(first) == 11
    assert ({"zebra"} <= given.things, given.stuff) == (True, {"gravel \ud7ff\u00e9"})
    assert drawn(store) == (first, given, [])
    assert drawn() == (first, given, NAMES)


def test_a_shard_that_changed_is_read_again(data, drawn, tmp_path):
    store = Folder(tmp_path / "answers")
    before, _, _ = drawn(store)
    rewrite(data, 0, {1: lambda raw: b"{"})
    after, _, read = drawn(store)
    assert read == NAMES[:1]
    assert after == [*before[:1], *before[2:]]


def test_an_entry_that_was_damaged_is_read_again(data, drawn, tmp_path):
    store = Folder(tmp_path / "answers")
    whole = drawn(store)
    entry = next(store.path.rglob("*.parquet"))
    good = entry.read_bytes()
    for at in range(0, len(good), 29):
        entry.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        assert drawn(store)[:2] == whole[:2]
    for size in (0, 1, len(good) // 2, len(good) - 1):
        entry.write_bytes(good[:size])
        again = drawn(store)
        assert again[:2] == whole[:2]
        assert len(again[2]) == 1
    assert drawn(store)[2] == []


def test_nothing_is_kept_of_a_shard_that_is_not_the_manifests(data, drawn, tmp_path):
    store = Folder(tmp_path / "answers")
    manifest = read_manifest(data)
    rewrite(data, 0, {1: lambda raw: b"{"})
    write_manifest(data, manifest)
    for _ in range(2):
        found, _, read = drawn(store)
        assert len(found) == 10
        assert NAMES[0] in read
