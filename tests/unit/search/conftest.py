"""A tiny model, small datasets whose samples can be exchanged, and an index of the demo's benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from umgclip.geometry import masks
from umgclip.inference.model import Model
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.places import Folder
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.model.clip import files
from umgclip.params import TowerParams
from umgclip.records import ImageRecord, Region, Source, Text
from umgclip.search.building import DatasetParts, build_index
from umgclip.stage import Summary

WIDTH, HEIGHT = 80, 60


def sample(key: str, regions: int = 2, label: str = "red mug", *, broken: bool = False, **fields: Any) -> RawSample:
    """Build a sample; its first region has a mask, and its pixels follow from its key."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = encode_jpeg(np.repeat(np.repeat(coarse, 10, axis=0), 10, axis=1))
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[10:40, 20:60] = True
    listed = [
        Region(
            id=f"r{number}",
            box_xyxy=(4.0 * number, 2.0 * number, 30.0 + 4 * number, 40.0 + 2 * number),
            mask=masks.encode(inside) if number == 0 else None,
            score=0.5,
            tags=[Text(text=label, source="human")],
            captions=[Text(text=f"a {label} in {key}", source="human")],
        )
        for number in range(regions)
    ]
    about = {
        "width": WIDTH,
        "height": HEIGHT,
        "sha256": "0" * 64,
        "source": Source(dataset="kitchen"),
        "regions": listed,
    }
    record = ImageRecord(key=key, **{**about, **fields})
    return RawSample(key, b"no image" if broken else image, "jpg", record.to_json())


def write(folder: Path, shards: Mapping[str, Sequence[RawSample]]) -> Path:
    """Write a dataset; shards of an older one there are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    infos = []
    for name, samples in shards.items():
        writer = ShardWriter(folder / name)
        for raw in samples:
            writer.write(raw)
        writer.close()
        infos.append(describe_shard(folder / name, len(samples)))
    write_manifest(folder, Manifest(made_by=MadeBy(stage="test"), shards=infos))
    return folder


def parts(folder: Path) -> DatasetParts:
    return DatasetParts(str(folder), {"train": (Folder(folder), read_manifest(folder))})


class CountingModel(Model):
    """A model that counts the images that it embeds, and may be stopped after some."""

    def __init__(self, model: Model) -> None:
        self.__dict__.update(model.__dict__)
        self.images, self.most = 0, 10**9

    def embed_with_regions(self, images: Any, *others: Any) -> Any:
        if len(others) > 1:  # the probe is an image without masks
            self.images += len(images)
            if self.images > self.most:
                raise KeyboardInterrupt
        return super().embed_with_regions(images, *others)


@pytest.fixture(scope="session")
def make_model(tiny: TowerParams) -> Any:
    import torch

    def make(seed: int = 0) -> Model:
        torch.manual_seed(seed)
        return Model(files.build(files.tower_config(tiny)).eval(), device="cpu")

    return make


@pytest.fixture(scope="session")
def model(make_model: Any) -> Model:
    return make_model()


@pytest.fixture(scope="session")
def kit(model: Model) -> SimpleNamespace:
    def build(folder: Path, out: Path, by: Any = model) -> Summary:
        return build_index(parts(folder), by, "tiny", out, lambda _: None)

    return SimpleNamespace(sample=sample, write=write, parts=parts, build=build, Counting=CountingModel)


@pytest.fixture(scope="session")
def demo_index(demo: Path, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the demo's benchmark: 32 images with their regions. Read only."""
    pytest.importorskip("lancedb")
    out = tmp_path_factory.mktemp("search") / "index"
    folder = demo / "benchmark"
    dataset = DatasetParts(str(demo), {"benchmark": (Folder(folder), read_manifest(folder))})
    build_index(dataset, model, "tiny", out, lambda _: None)
    return out
