"""A base with random weights and annotations that need no annotator: the demo benchmark's own truth, and more."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from umgclip.io.manifest import ShardInfo, describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.io.tables import QUARANTINE, write_table
from umgclip.model.clip import files
from umgclip.params import LoraParams, TowerParams, TrainParams
from umgclip.records import ImageRecord, Text, parse_record
from umgclip.train.stage import TrainInputs


@pytest.fixture(scope="session")
def base(tiny: TowerParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder. Read only."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    files.save(folder, files.build(files.tower_config(tiny)), files.tower_config(tiny))
    return folder


def richer(record: ImageRecord, number: int) -> ImageRecord:
    """The record with wrong texts and a long caption; both differ from image to image."""
    regions = []
    for place, region in enumerate(record.regions or []):
        count = 2 if region.is_stuff else max(0, 3 - place)
        wrong = [Text(text=f"wrong {i} of {number + place}", source="test") for i in range(count)]
        regions.append(region.model_copy(update={"negatives": wrong} if wrong else {}))
    long = [Text(text=f"a scene of the number {number} with many more words", source="human")] if number % 2 else []
    return record.model_copy(update={"regions": regions, "captions": [*(record.captions or []), *long]})


@pytest.fixture(scope="session")
def deep(tiny: TowerParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder of a tower with a block between the first and the last. Read only."""
    folder = tmp_path_factory.mktemp("deep")
    config = files.tower_config(tiny.model_copy(update={"layers": 3}))
    torch.manual_seed(0)
    files.save(folder, files.build(config), config)
    return folder


@pytest.fixture(scope="session")
def annotations(demo: Path, tiny: TowerParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo benchmark as human annotations, with random teacher embeddings; every third image has none.

    Stuff and the first things of an image have up to three wrong texts, and every second image a long caption.
    """
    folder = tmp_path_factory.mktemp("annotations")
    manifest = read_manifest(demo / "benchmark")
    rng = np.random.default_rng(0)
    shards: list[ShardInfo] = []
    for shard in manifest.shards:
        writer = ShardWriter(folder / shard.path)
        for number, raw in enumerate(read_shard(demo / "benchmark" / shard.path)):
            record = richer(parse_record(raw.json, where=raw.key), number)
            rows = 1 + len(record.regions or [])
            buffer = io.BytesIO()
            np.save(buffer, rng.normal(size=(rows, tiny.embed_dim)).astype(np.float16))
            teacher = buffer.getvalue() if number % 3 else None
            writer.write(RawSample(raw.key, raw.image, raw.extension, record.to_json(), teacher))
        writer.close()
        shards.append(describe_shard(folder / shard.path, writer.samples))
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))
    return folder


@pytest.fixture
def inputs(base: Path, annotations: Path, tmp_path: Path) -> TrainInputs:
    """Paths for one run, with an empty quarantine."""
    write_table(tmp_path / "quarantine.parquet", [], QUARANTINE)
    return TrainInputs(
        annotations=annotations,
        quarantine=tmp_path / "quarantine.parquet",
        base=base,
        work=tmp_path / ".train",
        metrics=tmp_path / "metrics" / "train.json",
        plots=tmp_path / "plots" / "train.csv",
    )


@pytest.fixture
def params() -> TrainParams:
    """Six small steps, a checkpoint after every second one."""
    return TrainParams(
        steps=6, batch=4, checkpoint_every=2, precision="fp32", lora=LoraParams(rank=4, alpha=8), lr_peak=1.0e-2
    )
