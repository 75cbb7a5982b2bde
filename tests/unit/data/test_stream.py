"""Stored samples: read, decoded, and made ahead."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from umgclip.data.stream import decode, prefetched, read_raw
from umgclip.errors import DataError
from umgclip.io.shards import RawSample

WriteDataset = Callable[..., Path]


def test_stored_order_names_the_shard(write_dataset: WriteDataset) -> None:
    found = [(shard, raw.key) for shard, raw in read_raw(write_dataset((2, 1)))]
    assert found == [("part-000000.tar", "s0n0"), ("part-000000.tar", "s0n1"), ("part-000001.tar", "s1n0")]


def test_a_corrupt_sample_is_named_by_shard_and_key() -> None:
    with pytest.raises(DataError, match=r"^part-000003.tar:k1: not a readable image"):
        decode(RawSample("k1", b"no jpeg", "jpg", b"{}"), "part-000003.tar")


def test_a_corrupt_record_is_named_by_shard_and_key(write_dataset: WriteDataset) -> None:
    _, raw = next(read_raw(write_dataset((1,))))
    with pytest.raises(DataError, match=r"^part-000003.tar:s0n0: key: Field required"):
        decode(RawSample(raw.key, raw.image, "jpg", b'{"width": 1}'), "part-000003.tar")


def test_a_decoded_sample(write_dataset: WriteDataset) -> None:
    _, raw = next(read_raw(write_dataset((1,))))
    sample = decode(raw, "x")
    assert sample.pixels.shape == (8, 8, 3)
    assert sample.record.captions is not None
    assert sample.record.captions[0].text == "a s0n0"


def test_prefetching_changes_neither_order_nor_content() -> None:
    assert list(prefetched(iter(range(7)))) == list(range(7))
    assert list(prefetched(iter([]))) == []


def test_prefetching_runs_ahead_and_no_further_than_asked() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    stream = prefetched(source(), depth=3)
    assert next(stream) == 0
    stream.close()  # waits for what is under way
    assert 3 <= len(made) <= 4


def test_an_error_while_prefetching_comes_where_its_item_would() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise DataError("bad sample")

    stream = prefetched(source())
    assert next(stream) == 1
    with pytest.raises(DataError, match="bad sample"):
        next(stream)
