"""Generated photographs of 500 x 375 pixels with captions, regions, masks and a teacher's embeddings."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from umgclip.geometry import masks
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import ClassList, MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Region, Source, Text

HEIGHT, WIDTH = 375, 500
THINGS = ("dog", "cat", "car", "tree", "house", "boat", "cup", "chair", "lamp", "horse", "bird", "bench", "table")
_COLOURS = ("red", "green", "blue", "old", "new", "small", "large", "round")


def write_photos(folder: Path, count: int, regions: int, embed_dim: int | None = None) -> Path:
    """Write a dataset of generated photographs in one shard.

    Args:
        folder: to make.
        count: images.
        regions: of each image, with box, mask, label and caption.
        embed_dim: of a teacher's embeddings of image and regions; None: there is no teacher.
    """
    folder.mkdir(parents=True)
    path = folder / "part-000000.tar"
    writer = ShardWriter(path)
    for number in range(count):
        writer.write(_photo(number, regions, embed_dim))
    writer.close()
    classes = ClassList(things=list(THINGS), stuff=["grass"], held_out=[])
    write_manifest(
        folder, Manifest(made_by=MadeBy(stage="data"), shards=[describe_shard(path, count)], classes=classes)
    )
    return folder


def _photo(number: int, regions: int, embed_dim: int | None) -> RawSample:
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    image = encode_jpeg(np.kron(coarse, np.ones((32, 32, 1), np.uint8))[:HEIGHT, :WIDTH], 90)
    drawn = [_region(at, rng) for at in range(regions)]
    names = list(dict.fromkeys(tag.text for region in drawn for tag in region.tags or []))
    caption = f"a {' and a '.join(names[:2])} on grass, number {number}"
    record = ImageRecord(
        key=f"k{number:06d}", width=WIDTH, height=HEIGHT, sha256=hashlib.sha256(image).hexdigest(),
        source=Source(dataset="photos"), captions=[Text(text=caption, source="alt")],
        tags=[Text(text=name, source="human") for name in names], regions=drawn,
    )  # fmt: skip
    taught = None if embed_dim is None else _embeddings(1 + regions, embed_dim, rng)
    return RawSample(record.key, image, "jpg", record.to_json(), taught)


def _region(number: int, rng: np.random.Generator) -> Region:
    x0, y0 = int(rng.integers(0, 300)), int(rng.integers(0, 200))
    x1, y1 = x0 + int(rng.integers(40, 200)), y0 + int(rng.integers(40, 175))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    thing, colour = rng.choice(THINGS), rng.choice(_COLOURS)
    return Region(
        id=f"r{number}", box_xyxy=(float(x0), float(y0), float(x1), float(y1)), mask=masks.encode(mask),
        captions=[Text(text=f"a {colour} {thing}", source="human")], tags=[Text(text=str(thing), source="human")],
    )  # fmt: skip


def _embeddings(rows: int, dim: int, rng: np.random.Generator) -> bytes:
    values = rng.standard_normal((rows, dim)).astype(np.float16)
    buffer = io.BytesIO()
    np.save(buffer, values / np.linalg.norm(values, axis=1, keepdims=True))
    return buffer.getvalue()
