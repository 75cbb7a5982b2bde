"""The rows of an index: one for each image and each region, with its texts, its place and its vector.

Vectors are float16: the cosine of two unit vectors of 512 dimensions changes by less than 0.001, and the index has half
the size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float16

from umgclip.io.manifest import ShardInfo
from umgclip.io.shards import RawSample
from umgclip.records import ImageRecord, Region, Text
from umgclip.search.filters import folded
from umgclip.search.store import VECTOR

Row = dict[str, Any]
SHOWN = (
    *("kind", "key", "region_id", "box_xyxy", "width", "height", "score", "is_stuff", "label", "tags", "captions"),
    *("dataset", "url", "file_name", "split", "shard", "position"),
)
COLUMNS = (*SHOWN, "names", "short_px", "sample", "shard_id")


@dataclass(frozen=True)
class SampleAt:
    """A sample in its shard, and the digest of its bytes.

    Attributes:
        raw: the sample as stored.
        position: its number in the shard, from 0.
        digest: of image and record, 32 hex digits.
    """

    raw: RawSample
    position: int
    digest: str

    @classmethod
    def of(cls, raw: RawSample, position: int) -> SampleAt:
        """Hash the bytes of a sample's image and record."""
        hashed = hashlib.sha256(len(raw.image).to_bytes(8, "big") + raw.image)
        hashed.update(raw.json)
        return cls(raw, position, hashed.hexdigest()[:32])


@dataclass(frozen=True)
class ShardId:
    """A shard as rows name it: part of the dataset, path, and an identifier that changes with its content."""

    split: str
    shard: str
    id: str

    @classmethod
    def of(cls, split: str, info: ShardInfo) -> ShardId:
        """Identify a shard by its part, path and SHA-256."""
        text = "\0".join((split, info.path, info.sha256))
        return cls(split, info.path, hashlib.sha256(text.encode()).hexdigest()[:16])

    def place(self, position: int, digest: str) -> Row:
        """Return the columns that say where a sample lies."""
        return {
            "split": self.split,
            "shard": self.shard,
            "shard_id": self.id,
            "position": position,
            "sample": digest,
        }


def image_row(record: ImageRecord, place: Mapping[str, Any], vector: Float16[np.ndarray, " d"]) -> Row:
    """Return the row of a whole image; its box is the image."""
    box = (0.0, 0.0, float(record.width), float(record.height))
    texts = _texts(record.tags, record.captions)
    return {**_common(record, box), **texts, **place, "kind": "image", "region_id": None, "score": 1.0, VECTOR: vector}


def region_row(record: ImageRecord, region: Region, place: Mapping[str, Any], vector: Float16[np.ndarray, " d"]) -> Row:
    """Return the row of one region of an image."""
    about = {"kind": "region", "region_id": region.id, "score": region.score, "is_stuff": region.is_stuff}
    texts = _texts(region.tags, region.captions)
    return {**_common(record, region.box_xyxy), **texts, **place, **about, VECTOR: vector}


def _common(record: ImageRecord, box: Sequence[float]) -> Row:
    return {
        "key": record.key,
        "box_xyxy": [float(side) for side in box],
        "short_px": float(min(box[2] - box[0], box[3] - box[1])),
        "width": record.width,
        "height": record.height,
        "is_stuff": False,
        "dataset": record.source.dataset,
        "url": record.source.url,
        "file_name": record.source.name,
    }


def _texts(tags: Sequence[Text] | None, captions: Sequence[Text] | None) -> Row:
    words = [text.text for text in tags or []]
    return {
        "label": words[0] if words else None,
        "tags": words,
        "names": sorted({folded(word) for word in words}),
        "captions": [text.text for text in captions or []],
    }


def row_schema(dim: int) -> Any:  # noqa: ANN401 - pyarrow belongs to the extra
    """Return the schema of the table of rows, for vectors of `dim` numbers."""
    import pyarrow as pa

    text, number, texts = pa.string(), pa.float32(), pa.list_(pa.string())
    return pa.schema(
        {
            "kind": text, "key": text, "region_id": text, "box_xyxy": pa.list_(number, 4), "short_px": number,
            "width": pa.int32(), "height": pa.int32(), "score": number, "is_stuff": pa.bool_(),
            "label": text, "tags": texts, "names": texts, "captions": texts, "dataset": text, "url": text,
            "file_name": text,
            "split": text, "shard": text, "shard_id": text, "position": pa.int32(), "sample": text,
            VECTOR: pa.list_(pa.float16(), dim),
        }.items()
    )  # fmt: skip


def failed_schema() -> Any:  # noqa: ANN401 - pyarrow belongs to the extra
    """Return the schema of the table of images and regions that could not be embedded."""
    import pyarrow as pa

    names = ("key", "region_id", "reason", "detail", "split", "shard", "shard_id", "sample")
    return pa.schema([*((name, pa.string()) for name in names), ("position", pa.int32())])


def as_table(rows: Sequence[Row], schema: Any) -> Any:  # noqa: ANN401 - pyarrow belongs to the extra
    """Return rows as a pyarrow table of a schema; vectors are arrays of float16."""
    import pyarrow as pa

    columns = []
    for field in schema:
        if field.name == VECTOR:
            flat = np.concatenate([np.asarray(row[VECTOR], np.float16) for row in rows])
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), field.type.list_size))
        else:
            columns.append(pa.array([row[field.name] for row in rows], field.type))
    return pa.Table.from_arrays(columns, schema=schema)
