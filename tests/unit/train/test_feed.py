"""What each process is fed: parts that make up the same global batches, and what becomes of unreadable samples."""

import itertools
import json
from pathlib import Path

import pytest
import torch

from umgclip.data.stream import read_raw
from umgclip.errors import DataError, InputError
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.io.tables import QUARANTINE, read_columns
from umgclip.learning.quarantine import Dropped
from umgclip.learning.world import BatchShare
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoaderParams, TrainParams
from umgclip.train import stage
from umgclip.train.batch import Batch
from umgclip.train.feed import LoadedBatch, TrainFeed, decoders
from umgclip.train.objective.labels import merge
from umgclip.train.stage import TrainInputs

NONE = Dropped(frozenset(), {})


@pytest.fixture(scope="module")
def tower(base: Path) -> DenseClip:
    return DenseClip(files.load(base)[0])


def feed(annotations: Path, tower: DenseClip, params: TrainParams, share: BatchShare | None = None) -> TrainFeed:
    return TrainFeed(params, annotations, NONE, tower, share)


def some(
    source: TrainFeed, steps: int, start: int = 0, workers: int = 1, backend: str = "threads"
) -> list[LoadedBatch]:
    return list(itertools.islice(source.load(start, workers, backend), steps))  # type: ignore[arg-type]


def equal(one: Batch, other: Batch) -> bool:
    return (
        one.texts == other.texts
        and torch.equal(one.images, other.images)
        and torch.equal(one.boxes_xyxy, other.boxes_xyxy)
        and torch.equal(one.tag_targets, other.tag_targets)
        and torch.equal(one.region_text, other.region_text)
    )


@pytest.mark.parametrize(("streams", "processes"), [(1, 2), (1, 3), (2, 2), (4, 2), (4, 4), (2, 4)])
def test_the_parts_of_all_processes_are_the_batch_of_one(
    annotations: Path, tower: DenseClip, streams: int, processes: int
) -> None:
    params = TrainParams(batch=9, loader=LoaderParams(streams=streams), min_window=0.7, relight=0.2)
    alone = some(feed(annotations, tower, params), 5)
    together = [some(feed(annotations, tower, params, BatchShare(rank, processes)), 5) for rank in range(processes)]
    for step, parts in enumerate(zip(*together, strict=True)):
        assert sum((part.keys for part in parts), ()) == alone[step].keys
        assert equal(merge([part.batch for part in parts]), alone[step].batch)


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_change_nothing(annotations: Path, tower: DenseClip, workers: int) -> None:
    source = feed(annotations, tower, TrainParams(batch=5))
    for one, other in zip(some(source, 8), some(source, 8, workers=workers), strict=True):
        assert one.keys == other.keys
        assert equal(one.batch, other.batch)


@pytest.mark.slow
def test_worker_processes_change_nothing(annotations: Path, tower: DenseClip) -> None:
    source = feed(annotations, tower, TrainParams(batch=5))
    for one, other in zip(some(source, 4), some(source, 4, workers=2, backend="processes"), strict=True):
        assert one.keys == other.keys
        assert equal(one.batch, other.batch)


def test_the_order_goes_on_at_any_step_in_several_streams(annotations: Path, tower: DenseClip) -> None:
    source = feed(annotations, tower, TrainParams(batch=7, loader=LoaderParams(streams=3)))
    whole = some(source, 12)
    for start in (1, 6, 11):
        assert [loaded.keys for loaded in some(source, 12 - start, start)] == [w.keys for w in whole[start:]]


def test_no_sample_comes_twice_in_an_epoch_and_none_is_missed(annotations: Path, tower: DenseClip) -> None:
    stored = sorted(raw.key for _, raw in read_raw(annotations))
    for processes in (1, 2, 4):
        params = TrainParams(batch=4, loader=LoaderParams(streams=4))
        drawn = [
            key
            for rank in range(processes)
            for loaded in some(feed(annotations, tower, params, BatchShare(rank, processes)), 8)
            for key in loaded.keys
        ]
        assert sorted(drawn) == stored


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            TrainParams(loader=LoaderParams(streams=3)),
            r"train.loader.streams: expected a multiple .* 2 processes, got 3",
        ),
        (TrainParams(batch=3, accumulate=2), r"train.batch: expected at least 4, .* 2 micro-batches, got 3"),
        (TrainParams(batch=3, loader=LoaderParams(streams=4)), r"train.batch: expected at least 4, .*4 streams"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(
    annotations: Path, tower: DenseClip, params: TrainParams, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        feed(annotations, tower, params, BatchShare(0, 2))


def test_a_gpu_gets_more_decoders() -> None:
    assert decoders(TrainParams(), on_gpu=False, processes_here=1) == 1
    assert decoders(TrainParams(), on_gpu=True, processes_here=1) >= 1
    assert decoders(TrainParams(loader=LoaderParams(workers=3)), on_gpu=False, processes_here=2) == 3


@pytest.fixture
def damaged(annotations: Path, tmp_path: Path) -> tuple[Path, set[str]]:
    """The annotations with four bad samples: a truncated image, no image, a broken record, a mask of another size."""
    folder, manifest = tmp_path / "damaged", read_manifest(annotations)
    folder.mkdir()
    shards, bad = [], set()
    for shard in manifest.shards:
        writer = ShardWriter(folder / shard.path)
        for number, (name, raw) in enumerate(read_raw(annotations)):
            if name != shard.path:
                continue
            other_size = raw.json.replace(b'"size":[96,96]', b'"size":[9,9]')
            changed = {
                3: (raw.image[:200], raw.json), 14: (b"", raw.json), 20: (raw.image, b'{"key": 1}'),
                22: (raw.image, other_size),
            }.get(number)  # fmt: skip
            assert number != 22 or other_size != raw.json
            image, record = changed or (raw.image, raw.json)
            bad |= {raw.key} if changed else set()
            writer.write(RawSample(raw.key, image, raw.extension, record, raw.embeddings))
        writer.close()
        shards.append(describe_shard(folder / shard.path, writer.samples))
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))
    return folder, bad


def test_unreadable_samples_are_named_and_the_others_keep_their_order(
    annotations: Path, damaged: tuple[Path, set[str]], tower: DenseClip
) -> None:
    folder, bad = damaged
    params = TrainParams(batch=4)
    whole, rest = some(feed(annotations, tower, params), 8), some(feed(folder, tower, params), 8)
    assert {failure.key for loaded in rest for failure in loaded.failed} == bad
    for one, other in zip(whole, rest, strict=True):
        assert other.keys == tuple(key for key in one.keys if key not in bad)
        assert len(other.batch.images) == len(other.keys)


def test_a_batch_of_unreadable_samples_is_empty(damaged: tuple[Path, set[str]], tower: DenseClip) -> None:
    folder, bad = damaged
    alone = [loaded for loaded in some(feed(folder, tower, TrainParams(batch=1)), 32) if loaded.failed]
    assert len(alone) == len(bad)
    assert all(len(loaded.batch.images) == len(loaded.batch.texts) == 0 for loaded in alone)


def test_training_goes_on_without_them_and_says_so(
    params: TrainParams, inputs: TrainInputs, damaged: tuple[Path, set[str]], tmp_path: Path
) -> None:
    folder, bad = damaged
    inputs = stage.TrainInputs(**vars(inputs) | {"annotations": folder})
    longer = params.model_copy(update={"steps": 10, "max_failed": 0.15})
    summary = stage.run(longer, inputs, tmp_path / "train")
    assert dict(summary.rows)["unreadable images"] == "4"
    rows = read_columns(tmp_path / "train" / "quarantine.parquet", QUARANTINE.names).to_pylist()
    assert {row["key"] for row in rows} == bad
    assert {(row["stage"], row["reason"], row["region_id"]) for row in rows} == {("train", "unreadable", None)}
    assert all(row["key"] in row["detail"] and row["shard"] in row["detail"] for row in rows)
    assert json.loads((tmp_path / "train" / "train.json").read_bytes())["trained_on"] == ["demo/scenes", "demo/singles"]


def test_too_many_of_them_stop_the_run(
    params: TrainParams, inputs: TrainInputs, damaged: tuple[Path, set[str]], tmp_path: Path
) -> None:
    inputs = stage.TrainInputs(**vars(inputs) | {"annotations": damaged[0]})
    strict = params.model_copy(update={"steps": 10, "max_failed": 0.07})
    with pytest.raises(DataError, match=r"at most 2 unreadable of 32 samples \(train.max_failed\), got 3; the last is"):
        stage.run(strict, inputs, tmp_path / "train")
    assert not (tmp_path / "train").exists()
