"""Small sources of every kind, and what an import makes of them."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from scipy.io import savemat

from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import Manifest
from umgclip.io.places import place_at
from umgclip.io.shard_source import ShardAt
from umgclip.params import ImportParams
from umgclip.records import ImageRecord, parse_record
from umgclip.sources.importing.run import run_import
from umgclip.sources.request import Request


def pixels(seed: int = 0, width: int = 40, height: int = 30) -> np.ndarray:
    """Smooth colours that differ by seed."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))


def encoded(array: np.ndarray, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def photo(path: Path, seed: int = 0, width: int = 40, height: int = 30, orientation: int = 1) -> bytes:
    """Write an image file of the format that its name says."""
    form = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[path.suffix[1:]]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(pixels(seed, width, height), form, **({"exif": exif} if orientation != 1 else {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def write_map(path: Path, values: Any) -> None:
    """Write a map of numbers: a PNG (8 bit, or colours), a TIFF of 16 bit, or a MATLAB file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(values)
    if path.suffix == ".mat":
        savemat(path, {"LabelMap": array.astype(np.uint16)})
    else:
        Image.fromarray(array.astype(np.uint16 if path.suffix == ".tif" else np.uint8)).save(path)


def write_tar(path: Path, members: Any, **options: Any) -> None:
    """Write a tar of names and bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, options.get("mode", "w")) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def areas(record: ImageRecord) -> dict[str, int]:
    """Pixels of each label's regions, those of a crowd with a star behind the label."""
    counts: dict[str, int] = {}
    for region in record.regions or []:
        name = (region.tags or [])[0].text + "*" * region.is_crowd
        counts[name] = counts.get(name, 0) + mask_ops.area(region.mask)
    return counts


@dataclass(frozen=True)
class Outcome:
    """A dataset as imported: manifest, statistics, records and images, read back."""

    manifest: Manifest
    statistics: dict[str, Any]
    records: dict[str, ImageRecord]  # by name in the source
    images: dict[str, bytes]
    quarantine: list[dict[str, Any]]
    resumed: int

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return sorted((row["reason"], row["shard"]) for row in self.quarantine)


PARAMS = ImportParams(workers=1, shard_samples=4)


def bring(
    kind: str,
    source: Path | str,
    out: Path | str,
    split: str = "train",
    params: ImportParams = PARAMS,
    append: bool = False,
    **options: Any,
) -> Outcome:
    """Run an import and read the whole dataset back."""
    options.setdefault("name", "test")
    imported = run_import(Request(kind, str(source), split, **options), params, out, append=append, alone=True)
    return opened(place_at(out).within(split), imported.resumed)


def opened(dataset: Any, resumed: int = 0) -> Outcome:
    """Read a whole dataset back from its shards and tables."""
    manifest = Manifest.model_validate_json(dataset.read("manifest.json", 1 << 20))
    names = {row["key"]: row["name"] for row in table(dataset, "images")}
    records, images = {}, {}
    for info in manifest.shards:
        for raw in ShardAt(dataset, info).samples():
            records[names[raw.key] or raw.key] = parse_record(raw.json, where=raw.key)
            images[names[raw.key] or raw.key] = raw.image
    statistics = json.loads(dataset.read("statistics.json", 1 << 20))
    return Outcome(manifest, statistics, records, images, table(dataset, "quarantine"), resumed)


def table(dataset: Any, name: str) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(dataset.read(f"{name}.parquet", 1 << 24))).to_pylist()


class RandomTower:
    """Sees and reads nothing: every embedding is drawn at random."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)

    def _drawn(self, *shape: int) -> torch.Tensor:
        return F.normalize(torch.randn(*shape, generator=self._generator), dim=1)

    def encode_image(self, images: torch.Tensor, valid: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        return self._drawn(len(images), 8), self._drawn(len(images), 8, 4, 4)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return self._drawn(len(tokens), 8)

    def logit_scale(self) -> torch.Tensor:
        return torch.tensor(10.0)

    def logit_bias(self) -> None:
        return None


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Evaluate a benchmark with a model that guesses; return the metrics."""
    from umgclip.evaluate.examples import batched, open_benchmark, read_examples
    from umgclip.evaluate.reader import Reader
    from umgclip.evaluate.suite import Suite
    from umgclip.params import EvaluateParams

    _, classes = open_benchmark(folder)
    params = EvaluateParams(image_px=32, crop_px=32, batch=4, pictures=1)
    reader = Reader(RandomTower(), lambda texts: torch.zeros((len(texts), 1), dtype=torch.int64), classes, params)
    suite = Suite("random", reader, {})
    for batch in batched(read_examples(folder, classes), params.batch):
        suite.add(batch)
    return suite.results()


def tree(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    return SimpleNamespace(
        pixels=pixels,
        encoded=encoded,
        photo=photo,
        bring=bring,
        opened=opened,
        table=table,
        tree=tree,
        PARAMS=PARAMS,
        write_map=write_map,
        write_text=write_text,
        areas=areas,
        measure=measure,
        write_tar=write_tar,
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten images with a caption each beside them, in two folders."""
    folder = tmp_path / "photos"
    for number in range(10):
        path = folder / f"{'ab'[number % 2]}" / f"{number}.jpg"
        photo(path, number)
        path.with_suffix(".txt").write_text(f"photo number {number}\n")
    return folder
