"""Small datasets to look at, with records that say more than the demo's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from umgclip.browse.gallery import Inputs, write_gallery
from umgclip.browse.settings import Selection
from umgclip.geometry import masks
from umgclip.io import tables
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.places import place_at
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Region, Source, Text

WIDTH, HEIGHT = 80, 60


def record(key: str, **fields: Any) -> ImageRecord:
    about = {"width": WIDTH, "height": HEIGHT, "sha256": "0" * 64, "source": Source(dataset="test")}
    return ImageRecord(key=key, **{**about, **fields})


def sample(key: str, seed: int = 0, image: bytes | None = None, json: bytes | None = None, **fields: Any) -> RawSample:
    """Build a sample with a tag, a caption and one region with a mask, unless fields are given."""
    if not fields:
        inside = np.zeros((HEIGHT, WIDTH), bool)
        inside[10:40, 20:60] = True
        text = [Text(text=f"thing {key}", score=0.5, source="model")]
        region = Region(id="0", box_xyxy=(20, 10, 60, 40), mask=masks.encode(inside), score=0.25, tags=text)
        fields = {"captions": [Text(text=f"a view of {key}", source="alt")], "tags": text, "regions": [region]}
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    content = record(key, **fields).to_json() if json is None else json
    return RawSample(key, encode_jpeg(pixels) if image is None else image, "jpg", content)


def dataset(
    folder: Path, shards: Sequence[Sequence[RawSample]], quarantine: list[dict[str, Any]] | None = None
) -> Path:
    """Write shards, a manifest, `images.parquet`, and a quarantine if there is one."""
    folder.mkdir(parents=True)
    rows, infos = [], []
    for number, samples in enumerate(shards):
        path = folder / f"{number:03d}.tar"
        writer = ShardWriter(path)
        for raw in samples:
            writer.write(raw)
            rows.append(tables.image_row(record(raw.key), path.name))
        writer.close()
        infos.append(describe_shard(path, len(samples)))
    tables.write_table(folder / "images.parquet", rows, tables.IMAGES)
    if quarantine is not None:
        tables.write_table(folder / "quarantine.parquet", quarantine, tables.QUARANTINE)
    write_manifest(folder, Manifest(made_by=MadeBy(stage="test", params_sha256="", code_version="0"), shards=infos))
    return folder


def row(key: str | None, reason: str, region: str | None = None, **others: str) -> dict[str, Any]:
    return {
        "key": key,
        "shard": None,
        "region_id": region,
        "stage": "validate",
        "reason": reason,
        "detail": "",
        **others,
    }


def content(out: Path) -> dict[str, Any]:
    """Read the data that the page gets from its script."""
    script = (out / "data.js").read_text(encoding="ascii")
    head, tail = "globalThis.GALLERY = JSON.parse(", ");\n"
    assert script.startswith(head)
    assert script.endswith(tail)
    return json.loads(json.loads(script[len(head) : -len(tail)]))


def browse(folder: Path, out: Path, quarantines: Sequence[Path] = (), **selection: int) -> dict[str, Any]:
    """Write a gallery and give what its page gets."""
    inputs = Inputs(place_at(folder), read_manifest(folder), [str(path) for path in quarantines])
    write_gallery(Selection(**selection), inputs, out, lambda _: None)
    return content(out)


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    return SimpleNamespace(record=record, sample=sample, dataset=dataset, row=row, content=content, browse=browse)


@pytest.fixture
def quarantine(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as a quarantine beside no dataset."""

    def write(*rows: dict[str, Any], name: str = "later.parquet") -> Path:
        tables.write_table(tmp_path / name, rows, tables.QUARANTINE)
        return tmp_path / name

    return write
