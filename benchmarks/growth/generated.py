"""Generated data: tars of tiny JPEGs, datasets of records, and the tables of annotated datasets."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.io import tables
from umgclip.io.atomic import write_json
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import ClassList, MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Region, Source, Text

SIDE_PX = 32
SHARD = 1000
_DRAWN = 64  # JPEGs that are really drawn; a comment makes each image another file
_ROWS = 100_000
_WORDS = ("red", "green", "blue", "old", "new", "small", "large", "round", "wooden", "bright", "dark", "open")
_NOUNS = ("dog", "cat", "car", "tree", "house", "boat", "cup", "chair", "lamp", "horse", "bird", "bench", "table")


def jpeg(number: int) -> bytes:
    """Return a JPEG of 32 x 32 pixels that no other number has, for a few microseconds."""
    data, comment = _drawn(number % _DRAWN), f"{number:012d}".encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


@cache
def _drawn(number: int) -> bytes:
    rng = np.random.default_rng(number)
    return encode_jpeg(np.kron(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)), 80)


def caption(number: int) -> str:
    """Return a caption with two things and a background, of which there are some thousand."""
    first, second = _noun(number), _noun(number * 7 + 1)
    return f"a {first} and a {second} on grass"


def _noun(number: int) -> str:
    return f"{_WORDS[number % len(_WORDS)]} {_NOUNS[number // 5 % len(_NOUNS)]}"


def write_tars(folder: Path, images: int) -> Path:
    """Write WebDataset tars as img2dataset does: an image and a caption for each sample."""
    folder.mkdir(parents=True)
    for first in range(0, images, SHARD):
        with tarfile.open(folder / f"{first // SHARD:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for number in range(first, min(first + SHARD, images)):
                for extension, data in (("jpg", jpeg(number)), ("txt", caption(number).encode())):
                    member = tarfile.TarInfo(f"{number:09d}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return folder


def record(number: int, image: bytes, regions: int) -> ImageRecord:
    """Return the record of an image, with regions that all have a label."""
    drawn = [
        Region(
            id=f"r{at}",
            box_xyxy=(float(at % 16), 1.0, float(at % 16 + 12), 20.0),
            tags=[Text(text=_noun(number + at), source="human")],
        )
        for at in range(regions)
    ]
    return ImageRecord(
        key=key(number), width=SIDE_PX, height=SIDE_PX, sha256=hashlib.sha256(image).hexdigest(),
        source=Source(dataset="growth"), captions=[Text(text=caption(number), source="alt")], regions=drawn or None,
    )  # fmt: skip


def key(number: int) -> str:
    """Return the key of an image, of the length that an import gives."""
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def write_dataset(folder: Path, images: int, regions: int = 0, *, classes: bool = False) -> Path:
    """Write a dataset of this package without tables, in shards of a thousand samples."""
    folder.mkdir(parents=True)
    shards = []
    for first in range(0, images, SHARD):
        path = folder / f"part-{first // SHARD:06d}.tar"
        writer = ShardWriter(path)
        last = min(first + SHARD, images)
        for number in range(first, last):
            image = jpeg(number)
            about = record(number, image, regions)
            writer.write(RawSample(about.key, image, "jpg", about.to_json()))
        writer.close()
        shards.append(describe_shard(path, last - first))
    listed = ClassList(things=["red dog"], stuff=["grass"], held_out=[]) if classes else None
    write_manifest(folder, Manifest(made_by=MadeBy(stage="data"), shards=shards, classes=listed))
    return folder


def write_annotations(folder: Path, images: int, regions: int, vocabulary: Path) -> Path:
    """Write the tables of an annotated dataset, without its shards, and its vocabulary; one row in 500 has a fault."""
    folder.mkdir(parents=True)
    for name, schema, rows in (
        ("images", tables.IMAGES, images),
        ("regions", tables.REGIONS, images * regions),
        ("quarantine", tables.QUARANTINE, images // 100),
    ):
        batches = _BATCHES[name](rows, max(1, regions))
        with pq.ParquetWriter(folder / f"{name}.parquet", schema) as writer:
            for columns in batches:
                count = len(columns["key"])
                arrays = [columns.get(field.name, [None] * count) for field in schema]
                writer.write_table(pa.table([pa.array(a, f.type) for a, f in zip(arrays, schema, strict=True)], schema))
    nouns = sorted({_noun(number) for number in range(1000)})
    write_json(vocabulary, {"things": nouns, "stuff": ["grass"], "held_out": ["violin"]})
    return folder


def _image_rows(rows: int, _regions: int) -> Iterator[dict[str, list[object]]]:
    for span in _spans(rows):
        yield {
            "key": [key(n) for n in span],
            "shard": [f"part-{n // SHARD:06d}.tar" for n in span],
            "width": [SIDE_PX] * len(span),
            "height": [SIDE_PX] * len(span),
            "sha256": [hashlib.sha256(n.to_bytes(8, "big")).hexdigest() for n in span],
            "caption": [f"{caption(n)}, number {n}" for n in span],
            "caption_score": [0.9] * len(span),
            "caption_source": ["model"] * len(span),
            "tags": [_noun(n) for n in span],
            "tag_score_min": [0.5] * len(span),
        }


def _region_rows(rows: int, regions: int) -> Iterator[dict[str, list[object]]]:
    for span in _spans(rows):
        yield {
            "key": [key(n // regions) for n in span],
            "region_id": [f"r{n % regions}" for n in span],
            "width": [SIDE_PX] * len(span),
            "height": [SIDE_PX] * len(span),
            "x0": [-1.0 if n % 500 == 0 else 2.0 for n in span],
            "y0": [2.0] * len(span),
            "x1": [20.0] * len(span),
            "y1": [20.0] * len(span),
            "score": [0.7] * len(span),
            "is_stuff": [False] * len(span),
            "labelled": [n % 2 == 0 for n in span],
            "label": [_noun(n) if n % 2 == 0 else None for n in span],
            "label_score": [0.6 if n % 2 == 0 else None for n in span],
            "caption": [f"a {_noun(n)}, number {n}" if n % 2 == 0 else None for n in span],
            "caption_score": [0.8 if n % 2 == 0 else None for n in span],
            "has_mask": [False] * len(span),
        }


def _fault_rows(rows: int, _regions: int) -> Iterator[dict[str, list[object]]]:
    for span in _spans(rows):
        about = {"shard": "part-000000.tar", "stage": "annotate", "reason": "undecodable", "detail": "generated"}
        yield {"key": [f"lost{n}" for n in span], **{name: [text] * len(span) for name, text in about.items()}}


_BATCHES = {"images": _image_rows, "regions": _region_rows, "quarantine": _fault_rows}


def _spans(rows: int) -> Iterator[range]:
    for first in range(0, max(rows, 1), _ROWS):
        yield range(first, min(first + _ROWS, rows))
