"""Small data sets with annotations of models, made without any model."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from umgclip.geometry import masks as mask_ops
from umgclip.io.images import encode_png
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.places import Folder
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, Region, Source, Text
from umgclip.review.exporting import Wish, run_export

WIDTH, HEIGHT = 64, 48
MODEL = "clip_teacher"


def picture(number: int) -> bytes:
    """A picture of large random squares: no two of different numbers look alike."""
    small = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return encode_png(small.repeat(8, 0).repeat(8, 1))


def text(words: str, source: str = MODEL, score: float = 0.5, **more) -> Text:
    return Text(text=words, source=source, score=score, **more)


def disc(centre: tuple[int, int] = (20, 20), radius: int = 9) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def boxed(name: str, box: Sequence[float], label: str | None, score: float = 0.5, **more) -> Region:
    tags = [] if label is None else [text(label, score=score)]
    return Region(id=name, box_xyxy=tuple(box), tags=tags, captions=[], score=0.9, **more)


def masked(name: str, mask: np.ndarray, label: str, score: float = 0.5, **more) -> Region:
    return boxed(name, mask_ops.box_of(mask), label, score, mask=mask_ops.encode(mask), **more)


def record_of(number: int, **more) -> ImageRecord:
    digest = hashlib.sha256(picture(number)).hexdigest()
    source = Source(dataset="d", license="CC0-1.0")
    return ImageRecord(key=f"k{number:03d}", width=WIDTH, height=HEIGHT, sha256=digest, source=source, **more)


def scene(number: int) -> ImageRecord:
    """A cat with a mask, a dog with a box alone, grass, a proposal without a label, tags and two captions."""
    ground = ~disc()
    regions = [
        masked("0", disc(), "cat", 0.4).model_copy(update={"captions": [text("a cat; asleep")]}),
        boxed("1", (33.25, 7.5, 60, 40.125), "dog", 0.6),
        masked("2", ground, "grass", 0.9, is_stuff=True),
        boxed("3", (1, 30, 9, 40), None),
    ]
    return record_of(
        number,
        captions=[text("a cat on grass", "alt", 1.0), text("a cat & a dog", filter_score=0.3)],
        tags=[text("cat"), text("dog"), text("bird")],
        regions=regions,
    )


def write_dataset(folder: Path, records: Sequence[ImageRecord], per_shard: int = 3) -> Path:
    folder.mkdir(parents=True)
    shards = []
    for start in range(0, len(records), per_shard):
        path = folder / f"part-{start:06d}.tar"
        writer = ShardWriter(path)
        for record in records[start : start + per_shard]:
            writer.write(RawSample(record.key, picture(int(record.key[1:])), "png", record.to_json()))
        writer.close()
        shards.append(describe_shard(path, writer.samples))
    write_manifest(folder, Manifest(made_by=MadeBy(stage="annotate"), shards=shards))
    return folder


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., Path]:
    """Export records for a tool; gives the folder of the export."""

    def export(records: Sequence[ImageRecord], tool: str, name: str = "review", budget: int = 100, **wish) -> Path:
        data = tmp_path / f"{name}-data"
        if not data.exists():
            write_dataset(data, records)
        run_export(Folder(data), read_manifest(data), Wish(tool, budget, **wish), tmp_path / name)
        return tmp_path / name

    return export


@pytest.fixture
def scenes() -> SimpleNamespace:
    """What the tests make records and data sets of."""
    return SimpleNamespace(
        scene=scene, text=text, boxed=boxed, masked=masked, disc=disc, record_of=record_of, write_dataset=write_dataset
    )
