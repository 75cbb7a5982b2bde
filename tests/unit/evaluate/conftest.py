"""A benchmark of coloured squares, one colour a class, and towers that see the colour, or nothing at all."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from umgclip.evaluate.examples import Classes
from umgclip.evaluate.reader import Reader
from umgclip.geometry import masks as mask_ops
from umgclip.io.images import encode_png
from umgclip.io.manifest import ClassList, MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.params import EvaluateParams
from umgclip.records import ImageRecord, PairSide, Region, Source, Text

SIDE = 24
THINGS = ("apple", "boat", "cat", "drum", "egg", "fox")
STUFF = ("grass", "sand")
HELD_OUT = ("egg", "fox")
COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255], [0, 0, 0], [255, 255, 255]],
    dtype=np.uint8,
)
SLOTS = ((2, 2), (14, 2), (2, 14), (14, 14))
CLASSES = Classes(THINGS, STUFF, frozenset(HELD_OUT))
PARAMS = EvaluateParams(image_px=SIDE, crop_px=SIDE, batch=5, pictures=1)


class ColourTower:
    """Reads the class of every pixel from its colour: a model that is right about everything."""

    def encode_image(self, images):
        mean = torch.tensor(OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
        std = torch.tensor(OPENAI_DATASET_STD).view(1, 3, 1, 1)
        rgb = (images * std + mean).permute(0, 2, 3, 1)
        palette = torch.from_numpy(COLOURS.astype(np.float32)) / 255
        label = torch.cdist(rgb.flatten(1, 2), palette).argmin(-1)
        one_hot = F.one_hot(label, len(COLOURS)).float()
        share = one_hot.mean(1)
        share[:, len(THINGS) :] *= 1e-3
        # every thing present counts the same, the largest a little more: what a crop is of
        image = (share > 0.05).float() + 0.01 * share
        dense = one_hot.transpose(1, 2).unflatten(2, images.shape[2:])
        return F.normalize(image, dim=-1), dense

    def encode_text(self, tokens):
        return F.normalize(tokens.float(), dim=-1)

    def logit_scale(self):
        return torch.tensor(100.0)

    def logit_bias(self):
        return None


class RandomTower(ColourTower):
    """Sees nothing: every embedding of an image is drawn at random."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def encode_image(self, images):
        count = len(COLOURS)
        image = torch.randn(len(images), count, generator=self.generator)
        dense = torch.randn(len(images), count, *images.shape[2:], generator=self.generator)
        return F.normalize(image, dim=1), F.normalize(dense, dim=1)


def tokenize(texts):
    """Which class names a text holds, as a row of 0 and 1."""
    return torch.tensor([[int(name in text.split()) for name in (*THINGS, *STUFF)] for text in texts])


@pytest.fixture
def kit():
    """The helpers of this file: towers, `draw`, `write_dataset` and the constants."""
    return SimpleNamespace(**globals())


@pytest.fixture
def read_with():
    """A reader of the coloured squares with the given tower."""

    def make(tower, params=PARAMS):
        return Reader(tower, tokenize, CLASSES, params)

    return make


@dataclass(frozen=True)
class Drawn:
    """A sample to be stored."""

    image: bytes
    record: ImageRecord


def draw(labels, stuff, dataset="toy/scenes", slots=SLOTS):
    """A square of each thing on one stuff, with its whole truth."""
    canvas = np.full((SIDE, SIDE), len(THINGS) + stuff)
    for label, (x, y) in zip(labels, slots, strict=False):
        canvas[y : y + 8, x : x + 8] = label
    image = encode_png(COLOURS[canvas])
    names = (*THINGS, *STUFF)
    regions = [
        Region(
            id=f"{number}",
            box_xyxy=mask_ops.box_of(canvas == label),
            mask=mask_ops.encode(canvas == label),
            is_stuff=label >= len(THINGS),
            tags=[Text(text=names[label], source="human")],
            captions=[Text(text=f"a {names[label]}", source="human")],
            negatives=[Text(text=f"a {name}", source="human") for name in names if name != names[label]]
            if label < len(THINGS)
            else None,
        )
        for number, label in enumerate([*labels, len(THINGS) + stuff])
    ]
    digest = hashlib.sha256(image).hexdigest()
    record = ImageRecord(
        key=digest[:16],
        width=SIDE,
        height=SIDE,
        sha256=digest,
        source=Source(dataset=dataset),
        captions=[Text(text=" and ".join(f"a {names[label]}" for label in labels), source="human")],
        tags=[Text(text=names[label], source="human") for label in [*labels, len(THINGS) + stuff]],
        regions=regions,
    )
    return Drawn(image, record)


def scenes():
    """Every pair and twelve threes of things, each once; scenes that follow each other are a visual-pattern pair."""
    groups = [*itertools.combinations(range(6), 2), *itertools.islice(itertools.combinations(range(6), 3), 12)]
    return [in_pair(draw(group, number % 2), number // 2) for number, group in enumerate(groups)]


def in_pair(drawn, number):
    """The same sample as one side of a pair, with its caption as text."""
    side = PairSide(id=f"{number}", pattern=f"Size {number % 2}", text=drawn.record.captions[0].text)
    return Drawn(drawn.image, drawn.record.model_copy(update={"pairs": [side]}))


def singles():
    """Every thing alone, once."""
    return [draw([label], label % 2, "toy/singles") for label in range(6)]


def write_dataset(folder: Path, samples, classes: ClassList | None) -> Path:
    """Store samples as a dataset of one shard."""
    folder.mkdir(parents=True)
    writer = ShardWriter(folder / "toy-000000.tar")
    for sample in samples:
        writer.write(RawSample(sample.record.key, sample.image, "png", sample.record.to_json()))
    writer.close()
    made_by = MadeBy(stage="test", params_sha256="0", code_version="0")
    shards = [describe_shard(folder / "toy-000000.tar", writer.samples)]
    write_manifest(folder, Manifest(made_by=made_by, shards=shards, classes=classes))
    return folder


TOY_CLASSES = ClassList(things=list(THINGS), stuff=list(STUFF), held_out=list(HELD_OUT))


@pytest.fixture
def toy(tmp_path):
    """The folder of the benchmark of coloured squares: 27 scenes and 6 singles."""
    return write_dataset(tmp_path / "benchmark", [*scenes(), *singles()], TOY_CLASSES)
