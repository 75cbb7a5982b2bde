"""A small annotated dataset without a fault, as frames to plant faults in, and the files that the stage reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umgclip.io.manifest import MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Source
from umgclip.validate.stage import ValidateInputs

IMAGES = 40
REGIONS_EACH = 4
CONCEPTS = {"things": ["cat", "red car"], "stuff": ["grass"], "held_out": ["violin"]}

REGION_SCHEMA = pa.schema(
    [("key", pa.string()), ("region_id", pa.string()), ("width", pa.int64()), ("height", pa.int64())]
    + [(name, pa.float64()) for name in ("x0", "y0", "x1", "y1", "score")]
    + [("is_stuff", pa.bool_()), ("labelled", pa.bool_()), ("label", pa.string()), ("label_score", pa.float64())]
    + [("caption", pa.string()), ("caption_score", pa.float64()), ("source", pa.string()), ("has_mask", pa.bool_())]
    + [(name, pa.float64()) for name in ("mask_area", "mask_x0", "mask_y0", "mask_x1", "mask_y1")]
    + [("negative_fault", pa.string())]
)
IMAGE_SCHEMA = pa.schema(
    [("key", pa.string()), ("shard", pa.string()), ("width", pa.int64()), ("height", pa.int64())]
    + [("sha256", pa.string()), ("caption", pa.string()), ("caption_score", pa.float64())]
    + [("tags", pa.string()), ("tag_score_min", pa.float64())]
)
DROPPED_SCHEMA = pa.schema([(n, pa.string()) for n in ("key", "shard", "region_id", "stage", "reason", "detail")])
SCHEMAS = {"images": IMAGE_SCHEMA, "regions": REGION_SCHEMA, "quarantine": DROPPED_SCHEMA}
BENCHMARK_SHA = hashlib.sha256(b"benchmark").hexdigest()


@dataclass
class Tables:
    """The frames of one annotated dataset."""

    images: pd.DataFrame
    regions: pd.DataFrame
    quarantine: pd.DataFrame

    def plant(self, table: str, row: int, **values: object) -> None:
        """Change some cells of one row."""
        frame = getattr(self, table).astype(object)
        for column, value in values.items():
            frame.loc[row, column] = value
        setattr(self, table, frame)

    def append(self, table: str, row: int, **values: object) -> None:
        """Add a copy of one row with some cells changed."""
        frame = getattr(self, table).astype(object)
        copy = {**frame.loc[row].to_dict(), **values}
        setattr(self, table, pd.concat([frame, pd.DataFrame([copy])], ignore_index=True).astype(object))


def good_image(i: int) -> dict[str, Any]:
    """Return a row of the images' table."""
    return {
        "key": f"image{i:03d}",
        "shard": "train-00000.tar",
        "width": 96,
        "height": 64,
        "sha256": hashlib.sha256(str(i).encode()).hexdigest(),
        "caption": "a very very red car on grass",
        "caption_score": 0.9,
        "tags": "grass|red car" if i % 2 else "",
        "tag_score_min": 0.5 if i % 2 else None,
    }


def good_region(i: int, j: int) -> dict[str, Any]:
    """Return a row of the regions' table: every second one labelled, with caption and mask."""
    told = j % 2 == 0
    x0 = 10.0 * j
    mask = {"mask_area": 50.0, "mask_x0": x0 - 0.5, "mask_y0": 5.0, "mask_x1": x0 + 10.5, "mask_y1": 25.0}
    return {
        "key": f"image{i:03d}",
        "region_id": f"r{j}",
        "width": 96,
        "height": 64,
        **{"x0": x0, "y0": 5.0, "x1": x0 + 10.0, "y1": 25.0},
        "score": 0.7,
        "is_stuff": False,
        "labelled": told,
        "label": "red car" if told else None,
        "label_score": 0.6 if told else None,
        "caption": "a red car" if told else None,
        "caption_score": 0.8 if told else None,
        "source": "model" if told else None,
        "has_mask": told,
        **(mask if told else dict.fromkeys(mask)),
        "negative_fault": None,
    }


@pytest.fixture
def tables() -> Tables:
    """Forty images of four regions each, and two rows that annotation had quarantined."""
    images = pd.DataFrame([good_image(i) for i in range(IMAGES)])
    regions = pd.DataFrame([good_region(i, j) for i in range(IMAGES) for j in range(REGIONS_EACH)])
    base = {"shard": "train-00000.tar", "stage": "annotate", "detail": "x"}
    dropped = [
        {"key": "broken", "region_id": None, "reason": "undecodable", **base},
        {"key": "image000", "region_id": "r9", "reason": "empty_box", **base},
    ]
    return Tables(images, regions, pd.DataFrame(dropped))


@pytest.fixture
def vocabulary() -> Mapping[str, list[str]]:
    """Write the concepts of the dataset to a file."""
    return CONCEPTS


@pytest.fixture
def benchmark_sha() -> str:
    """Return the content hash of the benchmark's one image."""
    return BENCHMARK_SHA


@pytest.fixture
def store(tmp_path: Path) -> Callable[[Tables], ValidateInputs]:
    """Write tables and the other inputs below a temporary folder."""

    def write(tables: Tables) -> ValidateInputs:
        annotations = tmp_path / "annotate" / "train"
        annotations.mkdir(parents=True, exist_ok=True)
        for name, schema in SCHEMAS.items():
            frame = getattr(tables, name)
            fields = [schema.field(c) if c in schema.names else pa.field(c, pa.string()) for c in frame.columns]
            table = pa.Table.from_pandas(frame, pa.schema(fields), preserve_index=False)
            pq.write_table(table, annotations / f"{name}.parquet", row_group_size=11)
        vocabulary = tmp_path / "vocabulary.json"
        vocabulary.write_text(json.dumps(CONCEPTS))
        return ValidateInputs(
            annotations, _benchmark(tmp_path / "benchmark"), vocabulary, tmp_path / "data_docs", tmp_path / "m.json"
        )

    return write


def _benchmark(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    record = ImageRecord(key="bench0", width=9, height=9, sha256=BENCHMARK_SHA, source=Source(dataset="demo/scenes"))
    writer = ShardWriter(folder / "b.tar")
    writer.write(RawSample("bench0", b"not decoded here", "jpg", record.to_json()))
    writer.close()
    made_by = MadeBy(stage="data", params_sha256="0", code_version="0")
    write_manifest(folder, Manifest(made_by=made_by, shards=[describe_shard(folder / "b.tar", 1)]))
    return folder
