"""Small datasets written for one test."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Source, Text

WriteDataset = Callable[..., Path]


@pytest.fixture
def write_dataset(tmp_path: Path) -> WriteDataset:
    """Write 8 px images `s{shard}n{number}` into shards of the given sizes."""

    def write(sizes: tuple[int, ...], name: str = "dataset") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shards = []
        for shard, size in enumerate(sizes):
            path = folder / f"part-{shard:06d}.tar"
            writer = ShardWriter(path)
            for number in range(size):
                image = encode_jpeg(np.full((8, 8, 3), number, np.uint8))
                key = f"s{shard}n{number}"
                record = ImageRecord(
                    key=key,
                    width=8,
                    height=8,
                    sha256=hashlib.sha256(image).hexdigest(),
                    source=Source(dataset="test"),
                    captions=[Text(text=f"a {key}", source="alt")],
                )
                writer.write(RawSample(key, image, "jpg", record.to_json()))
            writer.close()
            shards.append(describe_shard(path, size))
        made_by = MadeBy(stage="data", params_sha256="0", code_version="0")
        write_manifest(folder, Manifest(made_by=made_by, shards=shards))
        return folder

    return write
