"""Measure the cost of evaluation beyond the forward passes: benchmarks on shared features, PQ, mIoU, retrieval.

    python benchmarks/evaluate.py                   # random weights of the demo's size on 200 composed scenes
    python benchmarks/evaluate.py --images 30000 --captions 150000      # retrieval at the size of COCO's (minutes)
    python benchmarks/evaluate.py photographs --photographs 4           # ViT-B-16, 10 regions a photograph (minutes)
    python benchmarks/evaluate.py photographs --photographs 1000 --device cuda

`photographs`: all benchmarks and read-outs on generated photographs of 500 x 375 with random weights, over the forward
passes alone that they need, which are repeated on the same inputs after each batch: `dense` has the read-outs of the
one pass over whole images, `all` those of crops too, each of which is a forward of its own.

Prints one JSON line. Times are CPU times of this process with one thread, the minimum of a few rounds, so that other
work on the machine has little influence; on a GPU they are wall times. Targets: `feature_passes` and `ratio` at most
1.3, `of_panopticapi` and `of_torchmetrics` at most 1.5, retrieval of 30,000 x 150,000 below 4 GiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import cast
from unittest.mock import patch

import cv2
import numpy as np
import open_clip
import torch

from umgclip.evaluate.examples import Classes, Example, TrueRegion, batched, open_benchmark, read_examples
from umgclip.evaluate.reader import Reader
from umgclip.evaluate.suite import Suite
from umgclip.geometry import masks as mask_ops
from umgclip.metrics.panoptic import PanopticQuality
from umgclip.metrics.retrieval import retrieval_ranks_in_blocks
from umgclip.metrics.segmentation import SemanticAccumulator
from umgclip.model.clip import files
from umgclip.model.clip.attention import with_linear_attention
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.placed import PlacedClip
from umgclip.model.clip.tower import DenseClip
from umgclip.params import DataParams, EvaluateParams, TowerParams
from umgclip.sources.demo.scenes import write_demo

HEIGHT, WIDTH, SEGMENTS, CLASSES = 480, 640, 24, 150
ROUNDS = 3


def main() -> None:
    """Run the measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["photographs"], help="default: all but photographs")
    parser.add_argument("--photographs", type=int, default=4)
    parser.add_argument("--model", default="ViT-B-16", help="of photographs, by its name in open_clip")
    parser.add_argument("--device", default="cpu", help="of photographs: cpu or cuda")
    parser.add_argument("--batch", type=int, default=64, help="of photographs")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--images", type=int, default=3000, help="of retrieval")
    parser.add_argument("--captions", type=int, default=15000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "photographs":
        given = options.photographs, options.batch, options.model, torch.device(options.device)
        print(json.dumps({"model": options.model, "photographs": options.photographs, **photographs(*given)}))
        return
    # retrieval first, because peak memory is that of the whole process
    results = {"retrieval": retrieval(options.images, options.captions), "suite": suite(options.scenes), **pixels()}
    print(json.dumps(results))


def seconds(action: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, summed over all threads."""
    start = time.process_time()
    action()
    return time.process_time() - start


def suite(scenes: int) -> dict[str, dict[str, float]]:
    """Measure the six benchmarks against one pass over the images and the metrics alone."""
    with tempfile.TemporaryDirectory() as folder:
        write_demo(DataParams(train_scenes=1, benchmark_scenes=scenes, benchmark_singles=scenes // 2), Path(folder))
        benchmark = Path(folder) / "benchmark"
        _, classes = open_benchmark(benchmark)
        batches = list(batched(read_examples(benchmark, classes), 64))
    torch.manual_seed(0)
    tower = DenseClip(files.build(files.tower_config(TowerParams()))).eval()
    costs = {}
    for names in (["box", "mask"], ["box", "mask", "crop", "maskout"]):
        params = EvaluateParams(image_px=96, readouts=names)
        reader = Reader(tower, tower.tokenizer, classes, params, ImageInput.of(tower, 96))
        costs[" ".join(names)] = cost(reader, batches)
    return costs


def cost(reader: Reader, batches: list[list[Example]]) -> dict[str, float]:
    """Measure the milliseconds per image of a suite, and its feature passes besides metrics and region forwards."""
    images = sum(len(batch) for batch in batches)
    seen = [reader.see(batch) for batch in batches]
    forwards, total, metrics = [], [], []
    for _ in range(ROUNDS):
        forwards.append(seconds(lambda: [reader.see(batch) for batch in batches]))
        whole, alone = (Suite("model", reader, {"proposals": {}}) for _ in range(2))
        total.append(seconds(partial(_evaluate, whole, batches)))
        with patch.object(reader, "see", side_effect=seen):  # features as if from a cache
            metrics.append(seconds(partial(_evaluate, alone, batches)))
    results = {
        "suite_ms": 1e3 * min(total) / images,
        "feature_pass_ms": 1e3 * min(forwards) / images,
        "metrics_and_region_forwards_ms": 1e3 * min(metrics) / images,
        "feature_passes": (min(total) - min(metrics)) / min(forwards),
        "intervals_s": seconds(lambda: whole.draws(1000)),
    }
    return {name: round(value, 2) for name, value in results.items()}


def _evaluate(suite: Suite, batches: list[list[Example]]) -> None:
    for batch in batches:
        suite.add(batch)
    suite.results()


class Recorded(PlacedClip):
    """A CLIP that records what it was given, so that its forward passes can be repeated alone."""

    def __init__(self, clip: torch.nn.Module, device: torch.device) -> None:
        super().__init__(clip, device, torch.float32 if device.type == "cpu" else torch.bfloat16)
        self.calls: list[tuple[Callable[..., object], torch.Tensor]] = []

    def encode_image(
        self, images: torch.Tensor, valid: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode as ever, and record the images."""
        self.calls.append((super().encode_image, images))
        return super().encode_image(images, valid)

    def encode_global(self, images: torch.Tensor) -> torch.Tensor:
        """Encode as ever, and record the images."""
        self.calls.append((super().encode_global, images))
        return super().encode_global(images)

    @torch.inference_mode()
    def again(self) -> None:
        """Repeat the forward passes since the last call, and forget them."""
        for encode, images in self.calls:
            encode(images)
        self.calls.clear()


def photographs(count: int, batch: int, model: str, device: torch.device) -> dict[str, dict[str, float]]:
    """Measure all benchmarks on generated photographs, over the forward passes alone that they need."""
    torch.manual_seed(0)
    tower = Recorded(with_linear_attention(files.build(open_clip.get_model_config(model))), device).eval()
    classes = Classes(tuple(f"thing {n}" for n in range(80)), ("ground",), frozenset())
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    costs = {}
    for name, names in (("dense", ["box", "mask"]), ("all", ["box", "mask", "crop", "maskout"])):
        params = EvaluateParams(readouts=names, crop_px=None, batch=batch)
        reader = Reader(tower, tower.tokenizer, classes, params, ImageInput.of(tower))
        _photograph_suite(reader, photograph_examples(1, np.random.default_rng(1)), clock)  # warm
        took, bare, forwards = _photograph_suite(reader, photograph_examples(count, np.random.default_rng(0)), clock)
        costs[name] = {
            "ms": round(1e3 * took / count, 1),
            "forwards_alone_ms": round(1e3 * bare / count, 1),
            "forwards": forwards / count,
            "ratio": round(took / bare, 3),
        }
    return costs


def _photograph_suite(
    reader: Reader, examples: Iterator[Example], clock: Callable[[], float]
) -> tuple[float, float, int]:
    """Return the seconds of a suite, those of its forward passes alone, and the images and crops that they read."""
    suite, tower = Suite("model", reader, {"proposals": {}}), cast(Recorded, reader.clip.tower)
    took = bare = 0.0
    forwards = 0
    tower.calls.clear()
    for batch in batched(examples, reader.params.batch):
        start = clock()
        suite.add(batch)
        middle = clock()
        forwards += sum(len(images) for _, images in tower.calls)
        tower.again()
        took, bare = took + middle - start, bare + clock() - middle
    start = clock()
    suite.results()
    return took + clock() - start, bare, forwards


def photograph_examples(count: int, rng: np.random.Generator) -> Iterator[Example]:
    """Generate photographs of 500 x 375: smooth shapes with noise, ten elliptic things each, and the ground."""
    rows, columns = np.mgrid[:375, :500]
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        image = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
        ground, things = np.ones((375, 500), bool), []
        for place in range(10):
            (y, x), (tall, wide) = rng.uniform((60, 60), (315, 440)), rng.uniform(25, 60, 2)
            mask = ((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2 <= 1
            ground &= ~mask
            things.append(TrueRegion(mask_ops.box_of(mask), mask, int(rng.integers(80)), id=f"{place}"))
        stuff = (TrueRegion(mask_ops.box_of(ground), ground, 80, id="ground"),)
        tags = tuple(sorted({thing.label for thing in things}))
        yield Example(f"{number:06d}", image, (f"photograph {number}",), tags, tuple(things), stuff, single=False)


def pixels() -> dict[str, dict[str, float]]:
    """Measure PQ and mIoU of one image against panopticapi's steps and torchmetrics."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, SEGMENTS + 1, (HEIGHT // 40, WIDTH // 40))
    true = coarse.repeat(40, 0).repeat(40, 1)
    names = {"pq_small_ids": 1, "pq_24_bit_ids": 600_001}
    return {**{name: pq(true * factor, factor) for name, factor in names.items()}, "miou": miou(rng)}


def pq(true: np.ndarray, factor: int) -> dict[str, float]:
    """Measure PQ of one image's segments against the same segments, shifted."""
    pred = np.roll(true, 7, axis=1)
    category = {i * factor: i % CLASSES for i in range(1, SEGMENTS + 1)}
    truth = {i: (c, False) for i, c in category.items()}
    quality = PanopticQuality(range(CLASSES), range(CLASSES))
    ours = min(seconds(lambda: quality.update(pred, category, true, truth)) for _ in range(5))
    theirs = min(seconds(lambda: panopticapi_steps(pred, true)) for _ in range(5))
    return {"ms": round(1e3 * ours, 2), "of_panopticapi": round(ours / theirs, 2)}


def panopticapi_steps(pred: np.ndarray, true: np.ndarray) -> None:
    """Repeat panopticapi's steps over pixels: areas of the predicted segments, then counts of all id pairs."""
    np.unique(pred.astype(np.uint32), return_counts=True)
    np.unique(true.astype(np.uint64) * 2**24 + pred.astype(np.uint64), return_counts=True)


def miou(rng: np.random.Generator) -> dict[str, float]:
    """Measure the confusion matrix of one image against torchmetrics."""
    from torchmetrics.classification import MulticlassJaccardIndex

    pred, true = (rng.integers(0, CLASSES, (HEIGHT, WIDTH)) for _ in range(2))
    ours, theirs = SemanticAccumulator(CLASSES), MulticlassJaccardIndex(CLASSES, ignore_index=-1)
    tensors = torch.from_numpy(pred)[None], torch.from_numpy(true)[None]
    ours_s = min(seconds(lambda: ours.update(pred, true)) for _ in range(5))
    reference = min(seconds(lambda: theirs.update(*tensors)) for _ in range(5))
    return {"ms": round(1e3 * ours_s, 2), "of_torchmetrics": round(ours_s / reference, 4)}


def retrieval(images: int, captions: int, dim: int = 512) -> dict[str, float]:
    """Measure recall in both directions without the full similarity matrix."""
    rng = np.random.default_rng(0)
    left, right = (torch.from_numpy(rng.standard_normal((n, dim), dtype=np.float32)) for n in (images, captions))

    def similarity_of(rows: slice) -> np.ndarray:
        return (left[rows] @ right.T).numpy()

    took = seconds(lambda: retrieval_ranks_in_blocks(similarity_of, images, np.arange(captions) % images))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"images": images, "captions": captions, "cpu_s": round(took, 1), "process_peak_gib": round(peak, 2)}


if __name__ == "__main__":
    main()
