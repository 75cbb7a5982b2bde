"""Small sources of every kind, and what an import makes of them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from umgclip.io.places import place_at
from umgclip.manifest import Manifest
from umgclip.params import ImportParams
from umgclip.records import ImageRecord, parse_record
from umgclip.sources.importing import run_import
from umgclip.sources.request import Request
from umgclip.sources.rewriting import Stored


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


@dataclass(frozen=True)
class Outcome:
    """A dataset that was imported."""

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
    """Import and read everything back."""
    options.setdefault("name", "test")
    done = run_import(Request(kind, str(source), split, **options), params, out, append=append)
    place = place_at(out).within(split)
    names = {row["key"]: row["name"] for row in table(place, "images")}
    records, images = {}, {}
    for info in done.manifest.shards:
        for raw in Stored(place, info).samples():
            records[names[raw.key] or raw.key] = parse_record(raw.json, where=raw.key)
            images[names[raw.key] or raw.key] = raw.image
    statistics = json.loads(place.read("statistics.json", 1 << 20))
    return Outcome(done.manifest, statistics, records, images, table(place, "quarantine"), done.resumed)


def table(place: Any, name: str) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(place.read(f"{name}.parquet", 1 << 24))).to_pylist()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    return SimpleNamespace(
        pixels=pixels, encoded=encoded, photo=photo, bring=bring, table=table, tree=tree, PARAMS=PARAMS
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
