"""The order of samples: seeded, complete, and the same from any position."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from umgclip.data import stream
from umgclip.data.stream import batches, decode, prefetched, read_raw, shuffled
from umgclip.errors import DataError
from umgclip.io.shards import RawSample

WriteDataset = Callable[..., Path]
SIZES = (5, 3, 4)


def keys(samples: itertools.islice) -> list[str]:
    return [raw.key for raw in samples]


def first(folder: Path, count: int, seed: int = 0, buffer: int = 4) -> list[str]:
    return keys(itertools.islice(shuffled(folder, seed, buffer), count))


def test_stored_order_names_the_shard(write_dataset: WriteDataset) -> None:
    found = [(shard, raw.key) for shard, raw in read_raw(write_dataset((2, 1)))]
    assert found == [("part-000000.tar", "s0n0"), ("part-000000.tar", "s0n1"), ("part-000001.tar", "s1n0")]


@pytest.mark.parametrize("buffer", [0, 4, 100])
def test_every_sample_comes_once_an_epoch(write_dataset: WriteDataset, buffer: int) -> None:
    folder = write_dataset(SIZES)
    stored = sorted(raw.key for _, raw in read_raw(folder))
    drawn = first(folder, 36, buffer=buffer)
    epochs = [drawn[:12], drawn[12:24], drawn[24:]]
    assert [sorted(epoch) for epoch in epochs] == [stored] * 3
    if buffer:
        assert epochs[0] != epochs[1] != epochs[2]


def test_the_seed_decides_the_order(write_dataset: WriteDataset) -> None:
    folder = write_dataset(SIZES)
    assert first(folder, 30) == first(folder, 30)
    assert first(folder, 30) != first(folder, 30, seed=1)


def test_a_dataset_too_large_to_keep_comes_in_the_same_order(
    write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dataset(SIZES)
    kept = first(folder, 30)
    monkeypatch.setattr(stream, "_KEEP_BYTES", 0)
    assert first(folder, 30) == kept


@pytest.mark.parametrize("start", [1, 2, 7])
def test_skipping_batches_equals_consuming_them(write_dataset: WriteDataset, start: int) -> None:
    folder = write_dataset(SIZES)
    whole = [keys(batch) for batch in itertools.islice(batches(shuffled(folder, 3, 4), 5), 10)]
    rest = [keys(batch) for batch in itertools.islice(batches(shuffled(folder, 3, 4), 5, start), 10 - start)]
    assert rest == whole[start:]
    assert {len(batch) for batch in whole} == {5}, "batches run over the ends of epochs"


def test_left_out_samples_do_not_move_the_others(write_dataset: WriteDataset) -> None:
    folder = write_dataset(SIZES)

    def keep(raw: RawSample) -> bool:
        return not raw.key.startswith("s0")

    expected = [key for key in first(folder, 36) if not key.startswith("s0")]
    assert keys(itertools.islice(shuffled(folder, 0, 4, keep), 21)) == expected


def test_leaving_everything_out_is_an_error_and_no_endless_loop(write_dataset: WriteDataset) -> None:
    with pytest.raises(DataError, match=r"dataset: expected samples to train on, all 12 are left out"):
        next(shuffled(write_dataset(SIZES), 0, 4, keep=lambda _: False))


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
