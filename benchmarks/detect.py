"""Measure `Model.detect` on scenes with known things: average precision, precision and recall at the threshold.

Run `python benchmarks/detect.py artifacts/base artifacts --data data/benchmark`. In each scene a random part of its
things is asked for, and as many other names as make the list full, so that most of what is asked for is not there and
some of what is there is not asked for. A detection is right if its label is, and its box has an IoU of .5 or more.
`--draw SEED` draws scenes of the demo instead, which is where the defaults of `detect` were chosen.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import umgclip
from umgclip.data.stream import decode, read_raw
from umgclip.geometry import boxes as box_ops
from umgclip.inference.detecting.detector import DetectSettings
from umgclip.inference.detecting.regions import DetectedRegions
from umgclip.io.manifest import read_manifest
from umgclip.metrics.average_precision import AveragePrecision, Detections, TrueBoxes
from umgclip.params import DataParams
from umgclip.sources.demo.scenes import training_scene, true_regions

SIZES = (1, 3, 10, 40)
FLOOR = 0.02  # detections of less confidence are not ranked


class LabelledScene(NamedTuple):
    """An image with the names and boxes of its things."""

    pixels: np.ndarray
    names: list[str]
    boxes_xyxy: np.ndarray


def stored_scenes(folder: Path) -> Iterator[LabelledScene]:
    """Yield the scenes of a benchmark that have boxes of things."""
    for _, raw in read_raw(folder):
        sample = decode(raw, str(folder))
        pixels, record = sample.pixels, sample.record
        things = [region for region in record.regions or [] if not region.is_stuff and region.tags]
        if record.source.dataset.endswith("scenes"):
            boxes = np.array([thing.box_xyxy for thing in things], float).reshape(-1, 4)
            yield LabelledScene(pixels, [thing.tags[0].text for thing in things], boxes)


def drawn_scenes(seed: int, count: int) -> Iterator[LabelledScene]:
    """Yield training scenes of the demo with another seed."""
    for index in range(count):
        scene = training_scene(DataParams(seed=seed), index)
        things = [region for region in true_regions(scene) if not region.is_stuff]
        yield LabelledScene(scene.pixels, [t.tags[0].text for t in things], np.array([t.box_xyxy for t in things]))


def asked(scene: LabelledScene, names: Sequence[str], size: int, rng: np.random.Generator) -> list[str]:
    """Choose the labels that a scene is asked for: some of its things, and others."""
    here = list(dict.fromkeys(scene.names))
    some = rng.permutation(here)[: rng.integers(0, min(size, len(here)) + 1)].tolist()
    others = [name for name in names if name not in here]
    return some + rng.permutation(others)[: size - len(some)].tolist()


class Tally:
    """Counts of right and wrong detections at one threshold, and the ranking of all of them."""

    def __init__(self, names: Sequence[str], threshold: float) -> None:
        self._names, self._threshold = {name: row for row, name in enumerate(names)}, threshold
        self._ranking = AveragePrecision(100)
        self.right = self.reported = self.true = 0

    def add(self, scene: LabelledScene, labels: Sequence[str], regions: DetectedRegions) -> None:
        """Count one scene."""
        wanted = [row for row, name in enumerate(scene.names) if name in labels]
        boxes, numbers = scene.boxes_xyxy[wanted], np.array([self._names[scene.names[row]] for row in wanted], int)
        truth = TrueBoxes(
            boxes, numbers, box_ops.area(boxes), np.zeros(len(boxes), bool),
            frozenset(self._names[label] for label in labels) - set(numbers.tolist()),
        )  # fmt: skip
        detected = np.array([self._names[name] for name in regions.names], int)
        found_xyxy = regions.boxes_xyxy.astype(float)
        self._ranking.add(truth, Detections(found_xyxy, detected, regions.scores.astype(float)))
        overlaps, free = box_ops.iou(found_xyxy, boxes), set(range(len(boxes)))
        self.true += len(boxes)
        for row in np.flatnonzero(regions.scores >= self._threshold):
            hits = [n for n in free if numbers[n] == detected[row] and overlaps[row, n] >= 0.5]
            self.reported += 1
            self.right += bool(hits)
            free -= set(hits[:1])

    def line(self) -> str:
        """Return average precision, precision and recall, in that order."""
        ap50 = self._ranking.compute().get("ap50", float("nan"))
        return f"{ap50:.3f} | {self.right / max(self.reported, 1):.3f} | {self.right / max(self.true, 1):.3f}"


def main() -> None:
    """Print a table: model, number of labels, AP at IoU .5, precision and recall at the default threshold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="folders or models:/ addresses")
    parser.add_argument("--data", type=Path, default=Path("data/benchmark"))
    parser.add_argument("--draw", type=int, help="draw scenes of the demo with this seed instead of reading --data")
    parser.add_argument("--scenes", type=int, default=400)
    options = parser.parse_args()
    names = read_manifest(options.data).classes.things
    scenes = list(stored_scenes(options.data) if options.draw is None else drawn_scenes(options.draw, options.scenes))[
        : options.scenes
    ]
    print(f"{len(scenes)} scenes\n| model | labels | AP .5 | precision | recall |\n|---|---|---|---|---|")
    for address in options.models:
        model, settings = umgclip.load(address), DetectSettings()
        for size in SIZES:
            tally, rng = Tally(names, settings.threshold), np.random.default_rng(0)
            for scene in scenes:
                labels = asked(scene, names, size, rng)
                detector = model.detector(labels, settings=dataclasses.replace(settings, threshold=FLOOR))
                tally.add(scene, labels, detector.find([scene.pixels])[0])
            print(f"| {address} | {size} | {tally.line()} |", flush=True)


if __name__ == "__main__":
    main()
