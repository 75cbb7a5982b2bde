"""`train.mixture`: a run over several datasets with different grains, its counts, and what it records."""

import json
from pathlib import Path

import pytest

from umgclip.errors import InputError
from umgclip.io.manifest import ShardInfo, describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.params import LoaderParams, TrainParams
from umgclip.records import ImageRecord, parse_record
from umgclip.train import stage
from umgclip.train.stage import TrainInputs

MIXTURE = {"captions": 1.0, "regions": 4.0, "bare": 1.0}


def reduced(record: ImageRecord, name: str) -> ImageRecord:
    """The record with the grains that its dataset has."""
    regions = None if name == "captions" else record.regions
    if name == "bare" and regions is not None:
        regions = [region.model_copy(update={"tags": None, "captions": None}) for region in regions]
    captions = record.captions if name == "captions" else None
    return record.model_copy(update={"captions": captions, "tags": None, "regions": regions})


@pytest.fixture(scope="session")
def mixed(annotations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The annotations as three datasets: one of captions, one of regions, one of images with proposals alone."""
    folder = tmp_path_factory.mktemp("mixed")
    manifest = read_manifest(annotations)
    samples = [raw for shard in manifest.shards for raw in read_shard(annotations / shard.path)]
    shards: list[ShardInfo] = []
    for number, name in enumerate(MIXTURE):
        writer = ShardWriter(folder / f"{name}.tar")
        for raw in samples[number::3]:
            record = reduced(parse_record(raw.json, where=raw.key), name)
            writer.write(RawSample(raw.key, raw.image, raw.extension, record.to_json(), raw.embeddings))
        writer.close()
        info = describe_shard(folder / f"{name}.tar", writer.samples)
        shards.append(info.model_copy(update={"dataset": name}))
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))
    return folder


@pytest.fixture
def mixed_inputs(inputs: TrainInputs, mixed: Path) -> TrainInputs:
    """Paths for one run over the three datasets."""
    return TrainInputs(mixed, inputs.quarantine, inputs.base, inputs.work, inputs.metrics, inputs.plots)


def facts(folder: Path) -> dict[str, dict[str, float]]:
    datasets: dict[str, dict[str, float]] = json.loads((folder / "train.json").read_text())["datasets"]
    return datasets


def test_a_mixture_counts_what_was_seen_and_records_every_digest(
    params: TrainParams, mixed_inputs: TrainInputs, mixed: Path, tmp_path: Path
) -> None:
    summary = stage.run(params.model_copy(update={"mixture": MIXTURE}), mixed_inputs, tmp_path / "out")
    seen = facts(tmp_path / "out")
    assert {name: (one["images"], one["weight"]) for name, one in seen.items()} == {
        "captions": (11, 1.0), "regions": (11, 4.0), "bare": (10, 1.0),
    }  # fmt: skip
    assert sum(one["shown"] for one in seen.values()) == 24
    assert seen["regions"]["shown"] == pytest.approx(24 * 44 / 65, abs=1)
    assert len({one["digest"] for one in seen.values()}) == 3
    assert dict(summary.rows)["images shown of regions (weight 4)"].endswith("each of 11 1.45 times")
    report = json.loads((tmp_path / "out" / "train.json").read_text())
    assert report["data_digest"] == read_manifest(mixed).digest()
    assert report["params"]["mixture"] == MIXTURE


@pytest.mark.parametrize("streams", [1, 2])
def test_an_interrupted_mixture_ends_with_the_same_bytes(
    params: TrainParams, mixed_inputs: TrainInputs, tmp_path: Path, streams: int
) -> None:
    params = params.model_copy(update={"mixture": MIXTURE, "loader": LoaderParams(streams=streams)})

    def report(step: int, _values: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    stage.run(params, mixed_inputs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        stage.run(params, mixed_inputs, tmp_path / "resumed", report=report)
    stage.run(params, mixed_inputs, tmp_path / "resumed")
    assert facts(tmp_path / "whole") == facts(tmp_path / "resumed")
    for name in ("train.json", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()


def test_without_a_mixture_named_datasets_are_counted_and_each_image_comes_once_an_epoch(
    params: TrainParams, mixed_inputs: TrainInputs, tmp_path: Path
) -> None:
    stage.run(params.model_copy(update={"steps": 8}), mixed_inputs, tmp_path / "out")
    assert {name: (one["shown"], one["weight"]) for name, one in facts(tmp_path / "out").items()} == {
        "captions": (11, 1.0), "regions": (11, 1.0), "bare": (10, 1.0),
    }  # fmt: skip


def test_an_unknown_name_is_refused_before_training(
    params: TrainParams, mixed_inputs: TrainInputs, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="train.mixture: expected names of datasets, got coco; there are captions"):
        stage.run(params.model_copy(update={"mixture": {"coco": 1.0}}), mixed_inputs, tmp_path / "out")
    assert not mixed_inputs.work.exists()
