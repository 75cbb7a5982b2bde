"""The order of samples: each in one stream of an epoch, whichever process reads a stream and from where on."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from umgclip.data import shard_files
from umgclip.data.order import SampleOrder
from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.io.manifest import MANIFEST, read_manifest
from umgclip.io.storage import Location, Storage

WriteDataset = Callable[..., Path]
SIZES = (5, 3, 4, 1, 6)
SAMPLES = sum(SIZES)


def keys(folder: Path, stream: int, streams: int, samples: int, start: int = 0, **options: object) -> list[str]:
    order = SampleOrder(folder, read_manifest(folder), 3, streams, **options)  # type: ignore[arg-type]
    return [stored.raw.key for stored in islice(order.stream(stream, start), samples)]


@pytest.fixture(params=["kept", "read again"])
def dataset(request: pytest.FixtureRequest, write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As it is, and as if it were too large to keep in memory."""
    if request.param == "read again":
        monkeypatch.setattr(shard_files, "KEEP_BYTES", 0)
    return write_dataset(SIZES)


def shuffled(folder: Path, seed: int, buffer: int) -> Iterator[str]:
    """Keys in the order of one stream, written plainly: shards permuted, samples drawn from a buffer."""
    shards: dict[str, list[str]] = {}
    for shard, raw in read_raw(folder):
        shards.setdefault(shard, []).append(raw.key)
    for epoch in count():
        rng = np.random.default_rng([seed, epoch])
        held: list[str] = []
        order = [key for index in rng.permutation(len(shards)) for key in list(shards.values())[index]]
        for key in [*order, *[None] * len(order)]:
            held += [] if key is None else [key]
            if len(held) > (buffer if key is not None else 0):
                index = int(rng.integers(len(held)))
                held[index], held[-1] = held[-1], held[index]
                yield held.pop()


@pytest.mark.parametrize("buffer", [0, 4, 100])
def test_one_stream_draws_from_a_buffer_over_permuted_shards(dataset: Path, buffer: int) -> None:
    expected = list(islice(shuffled(dataset, 3, buffer), 90))
    assert keys(dataset, 0, 1, 60, buffer=buffer) == expected[:60]
    out = frozenset(expected[:5])
    left = [key for key in expected if key not in out]
    assert keys(dataset, 0, 1, 60, buffer=buffer, dropped=out) == left[:60]


@pytest.mark.parametrize("buffer", [0, 4, 100])
def test_every_sample_comes_once_an_epoch(dataset: Path, buffer: int) -> None:
    stored = sorted(raw.key for _, raw in read_raw(dataset))
    drawn = keys(dataset, 0, 1, 3 * SAMPLES, buffer=buffer)
    epochs = [drawn[:SAMPLES], drawn[SAMPLES : 2 * SAMPLES], drawn[2 * SAMPLES :]]
    assert [sorted(epoch) for epoch in epochs] == [stored] * 3
    if buffer:
        assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("streams", [1, 2, 3, 5, 8])
def test_in_an_epoch_every_sample_is_in_one_stream(dataset: Path, streams: int) -> None:
    stored = sorted(raw.key for _, raw in read_raw(dataset))
    for epoch in range(3):
        found: list[str] = []
        for stream in range(streams):
            begin, end = ((e * SAMPLES + stream) // streams for e in (epoch, epoch + 1))
            found += keys(dataset, stream, streams, end, buffer=4)[begin:]
        assert sorted(found) == stored


@pytest.mark.parametrize("streams", [2, 4, 8])
def test_no_stream_gets_ahead_of_another(dataset: Path, streams: int) -> None:
    """After any number of equal turns, a sample has been seen about as often as any other."""
    turns = 10 * SAMPLES // streams
    seen = Counter(key for stream in range(streams) for key in keys(dataset, stream, streams, turns, buffer=4))
    assert len(seen) == SAMPLES
    assert sum(seen.values()) == turns * streams
    assert set(seen.values()) <= {9, 10, 11}


@pytest.mark.parametrize("out", [frozenset(), frozenset({"s0n0", "s1n1", "s4n5"})], ids=["all", "some left out"])
@pytest.mark.parametrize("start", [1, 9, 19, 40])
@pytest.mark.parametrize("streams", [1, 3])
def test_going_on_equals_having_gone_through(dataset: Path, streams: int, start: int, out: frozenset[str]) -> None:
    for stream in range(streams):
        whole = keys(dataset, stream, streams, 60, buffer=4, dropped=out)
        assert keys(dataset, stream, streams, 60 - start, start, buffer=4, dropped=out) == whole[start:]


def test_going_on_reads_only_what_it_needs(write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_files, "KEEP_BYTES", 0)
    folder, opened = write_dataset((4,) * 20), []
    read = shard_files.read_shard
    monkeypatch.setattr(shard_files, "read_shard", lambda path: opened.append(path) or read(path))
    keys(folder, 0, 1, 1, start=10 * 80 + 70, buffer=4)
    assert len(opened) <= 5, "neither earlier epochs nor earlier shards"


def test_the_seed_and_the_number_of_streams_decide(dataset: Path) -> None:
    first = [keys(dataset, 0, streams, 6, buffer=4) for streams in (1, 2, 3)]
    assert first[0] != first[1] != first[2]
    assert keys(dataset, 0, 2, 30, buffer=4) == keys(dataset, 0, 2, 30, buffer=4)


def test_leaving_everything_out_is_an_error_and_no_endless_loop(dataset: Path) -> None:
    everyone = frozenset(raw.key for _, raw in read_raw(dataset))
    for start in (0, 7):
        with pytest.raises(DataError, match=rf"expected samples to train on, all {SAMPLES} are left out"):
            keys(dataset, 1, 2, 1, start, dropped=everyone)


def test_a_shard_with_fewer_samples_than_the_manifest_says_is_an_error(dataset: Path) -> None:
    path = dataset / MANIFEST
    content = json.loads(path.read_text())
    content["shards"][2]["samples"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"part-000002.tar: expected 5 samples as in the manifest, got 4"):
        keys(dataset, 0, 1, SAMPLES + 1)


@pytest.fixture
def remote(write_dataset: WriteDataset, s3: Location, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest whose shards lie in S3."""
    monkeypatch.setattr(shard_files, "KEEP_BYTES", 0)
    folder = write_dataset(SIZES)
    content = json.loads((folder / MANIFEST).read_text())
    for shard in content["shards"]:
        where = s3 / f"set/{shard['path']}"
        Storage().put(folder / shard["path"], where)
        (folder / shard["path"]).rename(folder / f"local-{shard['path']}")
        shard["path"] = str(where)
    (folder / MANIFEST).write_text(json.dumps(content))
    return folder


def test_shards_in_s3_come_in_the_same_order(remote: Path, write_dataset: WriteDataset) -> None:
    local = write_dataset(SIZES, "local")
    for stream in range(2):
        assert keys(remote, stream, 2, 30, buffer=4) == keys(local, stream, 2, 30, buffer=4)
    out = frozenset({"s0n0"})
    assert keys(remote, 0, 1, 9, 25, buffer=4, dropped=out) == keys(local, 0, 1, 9, 25, buffer=4, dropped=out)


def test_a_shard_in_s3_that_is_not_the_manifests_is_named(remote: Path, s3: Location) -> None:
    Storage().put(remote / "local-part-000000.tar", s3 / "set/part-000004.tar")
    with pytest.raises(DataError, match=r"s3://bucket/set/part-000004.tar: expected sha256 \w+ as in the manifest"):
        keys(remote, 0, 1, SAMPLES + 1)


def test_a_resumed_stream_reads_the_headers_of_its_own_shards(
    write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_files, "KEEP_BYTES", 0)
    folder, asked = write_dataset((4,) * 8), Counter[int]()
    of_shard = shard_files.ShardFiles.keys

    def counted(files: shard_files.ShardFiles, index: int) -> list[str]:
        asked[index] += 1
        return of_shard(files, index)

    monkeypatch.setattr(shard_files.ShardFiles, "keys", counted)
    order = SampleOrder(folder, read_manifest(folder), 3, 4, frozenset(["s0n0"]), buffer=2)
    next(order.stream(1, 5))
    assert len(asked) <= 3
    assert set(asked.values()) == {1}
