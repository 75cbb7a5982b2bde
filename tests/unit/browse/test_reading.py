"""Drawing of samples from a dataset, and how little of it is read."""

from __future__ import annotations

import io
from collections import Counter

import pytest

from umgclip.browse.reading import Wanted, draw, pick
from umgclip.errors import DataError
from umgclip.io.manifest import MadeBy, Manifest, ShardInfo
from umgclip.io.places import Folder
from umgclip.io.shards import ShardWriter, read_shard

MADE = MadeBy(stage="test", params_sha256="", code_version="0")


def listing(*samples: int) -> Manifest:
    shards = [ShardInfo(path=f"{n:05d}.tar", sha256="", samples=count, bytes=1) for n, count in enumerate(samples)]
    return Manifest(made_by=MADE, shards=shards)


def total(drawn: dict[str, Wanted]) -> int:
    return sum(len(wanted.positions) for wanted in drawn.values())


def test_the_same_seed_draws_the_same_samples():
    manifest = listing(*[100] * 50)
    assert draw(manifest, 40, 8, seed=3) == draw(manifest, 40, 8, seed=3)
    assert draw(manifest, 40, 8, seed=3) != draw(manifest, 40, 8, seed=4)


def test_no_more_than_so_many_samples_and_shards_are_drawn():
    drawn = draw(listing(*[100] * 50), 40, 8, seed=0)
    assert total(drawn) == 40
    assert len(drawn) <= 8
    assert all(position < 100 for wanted in drawn.values() for position in wanted.positions)


def test_a_small_dataset_is_taken_whole():
    drawn = draw(listing(3, 0, 5), 100, 16, seed=0)
    assert {path: sorted(wanted.positions) for path, wanted in drawn.items()} == {
        "00000.tar": [0, 1, 2],
        "00002.tar": [0, 1, 2, 3, 4],
    }


def test_every_sample_is_as_likely_as_any_other():
    counts = Counter()
    for seed in range(400):
        for path, wanted in draw(listing(10, 10, 10, 10), 8, 2, seed).items():
            counts.update((path, position) for position in wanted.positions)
    assert len(counts) == 40
    assert min(counts.values()) > 40  # 80 are expected of each
    assert max(counts.values()) < 120


def test_a_manifest_of_41_million_is_drawn_from_at_once():
    drawn = draw(listing(*[10_000] * 4100), 300, 16, seed=0)
    assert total(drawn) == 300


@pytest.fixture
def shard(kit, tmp_path):
    writer = ShardWriter(tmp_path / "a.tar")
    for number in range(20):
        writer.write(kit.sample(f"k{number}", number))
    writer.close()
    return tmp_path / "a.tar"


def test_samples_are_those_that_a_full_reading_gives(shard):
    every = list(read_shard(shard))
    wanted = Wanted(frozenset({0, 7, 19}), frozenset({"k3", "k7", "elsewhere"}))
    samples = list(pick(Folder(shard.parent), shard.name, wanted))
    assert [one.position for one in samples] == [0, 3, 7, 19]
    assert [(one.key, one.image, one.json) for one in samples] == [
        (every[n].key, every[n].image, every[n].json) for n in (0, 3, 7, 19)
    ]


def test_a_stream_without_seeking_gives_the_same(shard):
    class Streamed(Folder):
        def open(self, name):
            whole = super().open(name)
            stream = io.BytesIO(whole.read())
            whole.close()
            stream.seekable = lambda: False
            stream.seek = None
            return stream

    wanted = Wanted(frozenset({2, 5}))
    assert list(pick(Streamed(shard.parent), shard.name, wanted)) == list(pick(Folder(shard.parent), "a.tar", wanted))


def test_reading_stops_after_the_last_sample_wanted(shard):
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])  # what lies behind is not looked at
    assert [one.key for one in pick(Folder(shard.parent), shard.name, Wanted(frozenset({1, 4})))] == ["k1", "k4"]
    with pytest.raises(DataError, match=r"a\.tar: .*"):
        list(pick(Folder(shard.parent), shard.name, Wanted(frozenset({1, 19}))))


def test_a_shard_that_is_too_short_is_said(shard):
    with pytest.raises(DataError, match="expected more than 20 samples, as in the manifest"):
        list(pick(Folder(shard.parent), shard.name, Wanted(frozenset({20}))))


def test_a_missing_shard_is_said(tmp_path):
    with pytest.raises(DataError, match=r"gone\.tar: cannot be read"):
        list(pick(Folder(tmp_path), "gone.tar", Wanted(frozenset({0}))))
