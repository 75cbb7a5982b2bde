"""Lanes: every sample in one lane of an epoch, whoever reads them and wherever they begin."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from umgclip.data import shard_files
from umgclip.data.order import Lanes
from umgclip.data.stream import read_raw, shuffled
from umgclip.errors import DataError
from umgclip.io.manifest import MANIFEST, read_manifest
from umgclip.io.storage import Location, Storage

WriteDataset = Callable[..., Path]
SIZES = (5, 3, 4, 1, 6)
SAMPLES = sum(SIZES)


def keys(folder: Path, lane: int, lanes: int, count: int, start: int = 0, **options: object) -> list[str]:
    order = Lanes(folder, read_manifest(folder), 3, lanes, **options)  # type: ignore[arg-type]
    return [stored.raw.key for stored in islice(order.stream(lane, start), count)]


@pytest.fixture(params=["kept", "read again"])
def dataset(request: pytest.FixtureRequest, write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As it is, and as if it were too large to keep in memory."""
    if request.param == "read again":
        monkeypatch.setattr(shard_files, "KEEP_BYTES", 0)
    return write_dataset(SIZES)


@pytest.mark.parametrize("buffer", [0, 4, 100])
def test_one_lane_is_the_order_of_the_stream(dataset: Path, buffer: int) -> None:
    expected = [raw.key for raw in islice(shuffled(dataset, 3, buffer), 60)]
    assert keys(dataset, 0, 1, 60, buffer=buffer) == expected
    out = frozenset(expected[:5])
    left = [raw.key for raw in islice(shuffled(dataset, 3, buffer, keep=lambda raw: raw.key not in out), 60)]
    assert keys(dataset, 0, 1, 60, buffer=buffer, dropped=out) == left


@pytest.mark.parametrize("lanes", [1, 2, 3, 5, 8])
def test_in_an_epoch_every_sample_is_in_one_lane(dataset: Path, lanes: int) -> None:
    stored = sorted(raw.key for _, raw in read_raw(dataset))
    for epoch in range(3):
        found: list[str] = []
        for lane in range(lanes):
            begin, end = ((e * SAMPLES + lane) // lanes for e in (epoch, epoch + 1))
            found += keys(dataset, lane, lanes, end, buffer=4)[begin:]
        assert sorted(found) == stored


@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_no_lane_gets_ahead_of_another(dataset: Path, lanes: int) -> None:
    """After any number of equal turns, a sample has been seen about as often as any other."""
    seen = Counter(key for lane in range(lanes) for key in keys(dataset, lane, lanes, 10 * SAMPLES // lanes, buffer=4))
    assert len(seen) == SAMPLES
    assert sum(seen.values()) == 10 * SAMPLES // lanes * lanes
    assert set(seen.values()) <= {9, 10, 11}


@pytest.mark.parametrize("out", [frozenset(), frozenset({"s0n0", "s1n1", "s4n5"})], ids=["all", "some left out"])
@pytest.mark.parametrize("start", [1, 9, 19, 40])
@pytest.mark.parametrize("lanes", [1, 3])
def test_going_on_equals_having_gone_through(dataset: Path, lanes: int, start: int, out: frozenset[str]) -> None:
    for lane in range(lanes):
        whole = keys(dataset, lane, lanes, 60, buffer=4, dropped=out)
        assert keys(dataset, lane, lanes, 60 - start, start, buffer=4, dropped=out) == whole[start:]


def test_going_on_reads_only_what_it_needs(write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_files, "KEEP_BYTES", 0)
    folder, opened = write_dataset((4,) * 20), []
    read = shard_files.read_shard
    monkeypatch.setattr(shard_files, "read_shard", lambda path: opened.append(path) or read(path))
    keys(folder, 0, 1, 1, start=10 * 80 + 70, buffer=4)
    assert len(opened) <= 5, "neither earlier epochs nor earlier shards"


def test_the_seed_and_the_number_of_lanes_decide(dataset: Path) -> None:
    first = [keys(dataset, 0, lanes, 6, buffer=4) for lanes in (1, 2, 3)]
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
    for lane in range(2):
        assert keys(remote, lane, 2, 30, buffer=4) == keys(local, lane, 2, 30, buffer=4)
    out = frozenset({"s0n0"})
    assert keys(remote, 0, 1, 9, 25, buffer=4, dropped=out) == keys(local, 0, 1, 9, 25, buffer=4, dropped=out)


def test_a_shard_in_s3_that_is_not_the_manifests_is_named(remote: Path, s3: Location) -> None:
    Storage().put(remote / "local-part-000000.tar", s3 / "set/part-000004.tar")
    with pytest.raises(DataError, match=r"s3://bucket/set/part-000004.tar: expected sha256 \w+ as in the manifest"):
        keys(remote, 0, 1, SAMPLES + 1)
