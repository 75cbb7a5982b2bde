"""The costs that are measured: what is made beforehand, what runs, over which size, and how it may grow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.growth import generated
from umgclip.io.manifest import MadeBy, Manifest, ShardInfo

Work = Callable[[], object]
IMAGES, REGION_ROWS, REGIONS, CLASSES, CAPTIONS = "images", "region rows", "regions an image", "classes", "captions"
_IMAGE_SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
_EACH = 10  # regions of an image in the tables


@dataclass(frozen=True)
class Cost:
    """One cost and how it is measured.

    Attributes:
        name: as in the table.
        axis: what the size counts.
        sizes: that can be measured, rising; the command's `--max` cuts them, divided by `weight`.
        prepare: makes what it needs in a folder, and returns what to measure.
        weight: how much more a unit of its size is than an image.
        quadratic: it compares everything with everything by its definition.
        memory_grows: its result is as large as its size, so its memory is too.
    """

    name: str
    axis: str
    sizes: tuple[int, ...]
    prepare: Callable[[int, Path], Work] = field(repr=False)
    weight: float = 1.0
    quadratic: bool = False
    memory_grows: bool = False

    def measured_sizes(self, most: float) -> list[int]:
        """Return the sizes up to `most`; sizes other than of images and captions are not cut below a thousandth."""
        return [size for size in self.sizes if size * self.weight <= most]


def _import(size: int, folder: Path) -> Work:
    from umgclip.params import ImportParams
    from umgclip.sources.importing.run import run_import
    from umgclip.sources.request import Request

    source = generated.write_tars(folder / "tars", size)
    request = Request("webdataset", str(source), "train", "growth")
    return lambda: run_import(request, ImportParams(workers=1), folder / "data", alone=True)


def _verify(size: int, folder: Path) -> Work:
    from umgclip.cli.data.datasets import check

    dataset = generated.write_dataset(folder / "data", size)
    return lambda: check(str(dataset), lambda _count: None)


def _statistics(size: int, folder: Path) -> Work:
    from umgclip.cli.data.datasets import statistics

    dataset = generated.write_dataset(folder / "data", size, regions=2)
    return lambda: statistics(str(dataset))


def _browse(size: int, folder: Path) -> Work:
    from umgclip.browse.gallery import Inputs, write_gallery
    from umgclip.browse.settings import Selection
    from umgclip.io.manifest import read_manifest
    from umgclip.io.places import Folder

    dataset = generated.write_dataset(folder / "data", size)
    tables = generated.write_annotations(folder / "tables", size, 1, folder / "vocabulary.json")
    for name in ("images", "quarantine"):
        (tables / f"{name}.parquet").rename(dataset / f"{name}.parquet")
    inputs = Inputs(Folder(dataset), read_manifest(dataset))
    return lambda: write_gallery(Selection(), inputs, folder / "gallery", lambda _count: None)


def _validate(size: int, folder: Path) -> Work:
    from umgclip.params import ValidateParams
    from umgclip.validate.stage import ValidateInputs, run

    vocabulary = folder / "vocabulary.json"
    annotations = generated.write_annotations(folder / "train", size // _EACH, _EACH, vocabulary)
    benchmark = generated.write_dataset(folder / "benchmark", 20, classes=True)
    inputs = ValidateInputs(annotations, benchmark, vocabulary, folder / "docs", folder / "metrics.json")
    # chunks of a tenth of the usual number of rows, so that a machine with little memory shows what a large one would
    params = ValidateParams(chunk_rows=100_000)
    return lambda: run(params, inputs, folder / "out")


def _plan(size: int, folder: Path) -> Work:
    from umgclip.annotate.plan import make_plan
    from umgclip.params import AnnotateParams

    data = folder / "data"
    generated.write_dataset(data / "train", size)
    generated.write_dataset(data / "benchmark", 20, classes=True)
    base = _base(folder / "base")
    params = AnnotateParams.model_validate({"workers": 1, "label": {"precision": None}})
    return lambda: make_plan(params, data, base, folder / "out")


def _order(size: int, folder: Path) -> Work:
    from itertools import islice

    from umgclip.data.order import SampleOrder

    order = SampleOrder(folder, _Indices.manifest(size), seed=0)
    order._files = _Indices(size)  # type: ignore[assignment] # no pictures: a million of them would only be read
    return lambda: sum(1 for _ in islice(order.stream(0), size))


def _resume(size: int, folder: Path) -> Work:
    from itertools import islice

    from umgclip.data.order import SampleOrder
    from umgclip.io.manifest import read_manifest

    dataset = generated.write_dataset(folder / "data", size)
    dropped = frozenset(generated.key(number) for number in range(0, size, 100))
    order = SampleOrder(dataset, read_manifest(dataset), seed=0, dropped=dropped)
    return lambda: list(islice(order.stream(0, start=size * 3 // 4), 8))


class _Indices:
    """The shards of a dataset without pictures: their samples are numbers."""

    def __init__(self, samples: int) -> None:
        self._samples = samples

    @staticmethod
    def manifest(samples: int) -> Manifest:
        """Return a manifest of shards that are not there."""
        counts = [min(generated.SHARD, samples - first) for first in range(0, samples, generated.SHARD)]
        shards = [ShardInfo(path=f"{n:06d}.tar", sha256="0" * 64, samples=c, bytes=0) for n, c in enumerate(counts)]
        return Manifest(made_by=MadeBy(stage="data"), shards=shards)

    def read(self, indices: object) -> object:
        """Yield each shard's index with its samples."""
        from umgclip.io.shards import RawSample

        for index in indices:  # type: ignore[attr-defined]
            first = index * generated.SHARD
            numbers = range(first, min(first + generated.SHARD, self._samples))
            yield index, (RawSample(str(number), b"", "jpg", b"") for number in numbers)


def _dvc(*command: str) -> Callable[[int, Path], Work]:
    def prepare(size: int, folder: Path) -> Work:
        generated.write_dataset(folder / "data", size)
        _run(folder, "git", "init", "--quiet")
        _run(folder, sys.executable, "-m", "dvc", "init", "--quiet")
        if command[0] != "add":
            _run(folder, sys.executable, "-m", "dvc", "add", "--quiet", "data")
        return lambda: _run(folder, sys.executable, "-m", "dvc", *command)

    return prepare


def _run(folder: Path, *command: str) -> float:
    """Run a command and return the peak of its memory in MB.

    Raises:
        RuntimeError: it failed; says why.
    """
    environment = os.environ | {"DVC_NO_ANALYTICS": "true", "DVC_SITE_CACHE_DIR": str(folder / ".site")}
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=told, stderr=told)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {told.read().strip()[-200:]}")
    return usage.ru_maxrss / 1024


def _mining(size: int, _folder: Path) -> Work:
    from umgclip.data.vocabulary import mine

    return lambda: mine((generated.caption(number) for number in range(size)), 5)


def _retrieval(size: int, _folder: Path) -> Work:
    import numpy as np

    from umgclip.metrics.retrieval import retrieval_ranks_in_blocks

    rng, images = np.random.default_rng(0), max(1, size // 5)
    left, right = (rng.standard_normal((count, 64), dtype=np.float32) for count in (images, size))
    owners = np.arange(size) % images
    blocks = 1 << 22
    return lambda: retrieval_ranks_in_blocks(lambda rows: left[rows] @ right.T, images, owners, blocks)


def _embedding(size: int, _folder: Path) -> Work:
    from umgclip.evaluate.examples import Classes
    from umgclip.evaluate.reader import Reader
    from umgclip.model.clip import files
    from umgclip.model.clip.tower import DenseClip
    from umgclip.params import EvaluateParams, TowerParams

    tower = DenseClip(files.build(files.tower_config(TowerParams()))).eval()
    things = tuple(f"{generated._noun(number)} {number}" for number in range(size))
    classes = Classes(things, (), frozenset())
    params = EvaluateParams(image_px=96, batch=64)
    return lambda: Reader(tower, tower.tokenizer, classes, params)


def _neighbours(size: int, _folder: Path) -> Work:
    import numpy as np

    from umgclip.annotate.neighbours import nearest_names
    from umgclip.data.vocabulary import Vocabulary

    rows = np.random.default_rng(0).standard_normal((size, 64), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    vocabulary = Vocabulary(tuple(f"thing {number}" for number in range(size)), ())
    return lambda: nearest_names(vocabulary, rows)


def _precision(size: int, _folder: Path) -> Work:
    """Average precision of boxes: 20,000 boxes, whatever the number of classes."""
    import numpy as np

    from umgclip.metrics.average_precision import AveragePrecision, Detections, TrueBoxes

    rng, total = np.random.default_rng(0), AveragePrecision(most=100)
    for _ in range(1_000):
        corners = rng.uniform(0, 400, (20, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(20, 200, (20, 2))], axis=1)
        labels = rng.integers(0, size, 20)
        total.add(
            TrueBoxes(boxes, labels, np.full(20, 900.0), np.zeros(20, bool)),
            Detections(boxes + rng.normal(0, 5, boxes.shape), labels, rng.random(20)),
        )
    return total.compute


def _pooling(size: int, _folder: Path) -> Work:
    import torch

    from umgclip.model.clip.readout import pool_boxes, pool_masks

    dense = torch.randn(4, 512, 14, 14)
    corners = torch.rand(4 * size, 2) * 0.5
    boxes, owners = torch.cat([corners, corners + 0.3], dim=1), torch.arange(4).repeat_interleave(size)
    masks = torch.rand(4 * size, 14, 14)
    return lambda: [(pool_boxes(dense, boxes, owners), pool_masks(dense, masks, owners)) for _ in range(5)]


def _collating(size: int, _folder: Path) -> Work:
    import numpy as np

    from umgclip.data.stream import decode
    from umgclip.io.shards import RawSample
    from umgclip.train.batch import TaughtSample, View, collate
    from umgclip.train.texts import TextChoice

    items = []
    for number in range(16):
        image = generated.jpeg(number)
        about = generated.record(number, image, size)
        raw = RawSample(about.key, image, "jpg", about.to_json())
        items.append(TaughtSample(decode(raw, "growth"), None))
    view = View(image_px=96, grid=6, regions_per_image=10, texts=TextChoice(0.0))
    return lambda: [collate(items, view, 16, np.random.default_rng(0)) for _ in range(5)]


def _region_import(size: int, folder: Path) -> Work:
    from umgclip.params import ImportParams
    from umgclip.sources.importing.run import run_import
    from umgclip.sources.request import Request

    source = generated.write_dataset(folder / "source", 200, regions=size)
    request = Request("webdataset", str(source), "train", "growth")
    return lambda: run_import(request, ImportParams(workers=1), folder / "data", alone=True)


def _base(folder: Path) -> Path:
    from umgclip.model.clip import files
    from umgclip.params import TowerParams

    folder.mkdir()
    small = {"width": 24, "layers": 1, "heads": 2, "text_width": 24, "text_layers": 1, "text_heads": 2, "embed_dim": 16}
    config = files.tower_config(TowerParams.model_validate({**small, "context_length": 32}))
    digest = files.save(folder, files.build(config), config)
    (folder / "base.json").write_text(json.dumps({"weights_sha256": digest}), encoding="utf-8")
    return folder


_FEW = (1, 3, 10, 30, 100, 300)
_NAMES = (10, 30, 100, 300, 1_000, 3_000, 10_000, 20_000)
COSTS = (
    Cost("import of tars", IMAGES, _IMAGE_SIZES, _import),
    Cost("`data verify`", IMAGES, _IMAGE_SIZES, _verify),
    Cost("`data stats`, from shards", IMAGES, _IMAGE_SIZES, _statistics),
    Cost("`data browse`", IMAGES, _IMAGE_SIZES, _browse),
    Cost("annotate's plan", IMAGES, _IMAGE_SIZES, _plan),
    Cost("validate", REGION_ROWS, (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000), _validate, 0.1),
    Cost("training's order, an epoch", IMAGES, _IMAGE_SIZES, _order),
    Cost("training's order, resumed", IMAGES, _IMAGE_SIZES, _resume),
    Cost("`dvc add`", IMAGES, _IMAGE_SIZES, _dvc("add", "--quiet", "data")),
    Cost("`dvc status`", IMAGES, _IMAGE_SIZES, _dvc("status", "--quiet")),
    Cost("vocabulary from captions", CAPTIONS, _IMAGE_SIZES, _mining),
    Cost("retrieval", CAPTIONS, (1_000, 3_000, 10_000, 30_000, 100_000), _retrieval, quadratic=True),
    Cost("class names to embeddings", CLASSES, _NAMES, _embedding, memory_grows=True),
    Cost("nearest concepts", CLASSES, _NAMES, _neighbours, quadratic=True, memory_grows=True),
    Cost("average precision, 20,000 boxes", CLASSES, _NAMES, _precision),
    Cost("import with regions", REGIONS, _FEW, _region_import),
    Cost("batch of 16 collated", REGIONS, _FEW, _collating),
    Cost("regions pooled", REGIONS, _FEW, _pooling, memory_grows=True),
)
BY_NAME = {cost.name: cost for cost in COSTS}


def clean(folder: Path) -> None:
    """Delete what a measurement left."""
    shutil.rmtree(folder, ignore_errors=True)
