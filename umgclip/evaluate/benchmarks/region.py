"""Classification of true regions by each of the configured read-outs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from umgclip.evaluate.benchmarks.classification import TOP
from umgclip.evaluate.benchmarks.variants import best_of_other_half
from umgclip.evaluate.examples import Example, TrueRegion, in_second_half
from umgclip.evaluate.reader import Reader, Seen
from umgclip.evaluate.readouts.readout import Readout, RegionBatch
from umgclip.evaluate.readouts.select import readouts
from umgclip.metrics.weighted import FEWEST_IMAGES, Weighted, mean_over_items

PROTOCOL = (
    "true things of the scenes, over all things; box: RoIAlign of the dense map in the middle of the true box; mask: "
    "the dense map pooled over the true mask on the token grid; crop: one forward per region on a square crop around "
    "the true box; maskout: the same with all outside the true mask replaced by the image's border colour; others "
    "as evaluate.readouts names them; _top1, _top5: micro; _per_class: top-1 of each thing, averaged; _heldout: "
    "regions of things that training never labels; _seen: the others; _small, _medium, _large: by COCO's areas, 32 and "
    "96 px squared, of the mask where it is known, else of the box; groups of classes that the benchmark names, as "
    "LVIS's _rare; _stuff_top1: true stuff among the stuff, by mask; "
    "mask and maskout: of the regions whose mask is known; crowd regions as the protocol block says"
)
SMALL_PX, LARGE_PX = 32**2, 96**2
_SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class RegionFact:
    """One region that was asked for, apart from what was predicted for it.

    Attributes:
        label: index of its true name.
        has_mask: whether its mask is known.
        size: index into small, medium and large; see `_size_of`.
        image: number of its image among the scenes so far.
        second_half: whether that image is in the second half; see `in_second_half`.
    """

    label: int
    has_mask: bool
    size: int
    image: int
    second_half: bool


class RegionTop1:
    """Top-1 and top-5 accuracy of every read-out over the true regions."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.readouts: dict[str, Readout] = readouts(reader.params)
        # per read-out and variant: predicted labels, and how many things rank before the true one
        self._predicted: dict[str, list[list[np.ndarray]]] = {
            n: [[] for _ in range(r.variants)] for n, r in self._pairs
        }
        self._rank: dict[str, list[list[np.ndarray]]] = {n: [[] for _ in range(r.variants)] for n, r in self._pairs}
        self._seconds: dict[str, float] = defaultdict(float)
        self._stuff: dict[str, list[np.ndarray]] = defaultdict(list)
        self._facts: list[RegionFact] = []
        self._images = 0

    @property
    def _pairs(self) -> list[tuple[str, Readout]]:
        return list(self.readouts.items())

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Classify the things of a batch of scenes by every read-out."""
        regions = [(row, region) for row, e in enumerate(examples) for region in self._reader.counted(e)]
        first = self._images
        self._images += len(examples)
        self._add_stuff(examples, seen)
        if not regions:
            return
        batch = RegionBatch(examples, regions, seen)
        for name, readout in self._pairs:
            part = batch.masked() if readout.needs_masks else batch
            if part.regions:
                self._read(name, part)
        halves = [in_second_half(example.key) for example in examples]
        self._facts.extend(
            RegionFact(region.label, region.mask is not None, _size_of(region), first + row, halves[row])
            for row, region in regions
        )

    @property
    def regions(self) -> int:
        """The number of regions to classify so far."""
        return len(self._facts)

    def predictions(self, readout: str) -> Int64[np.ndarray, " r"]:
        """Return the labels that a read-out predicts, in the order of the scenes and the things that it can read."""
        return self._chosen(readout, self._predicted)

    def targets(self, readout: str = "box") -> Int64[np.ndarray, " r"]:
        """Return the true labels, in the same order as `predictions`."""
        return np.array([fact.label for fact in self._readable(readout)], dtype=np.int64)

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `box_top1`, `box_top1_seen`, `box_top5`, `box_per_class` and so on, for each read-out with regions.

        With five things or fewer there is no `top5`.
        """
        for name in self.readouts:
            targets, rank = self.targets(name), self._chosen(name, self._rank)
            right = self.predictions(name) == targets
            for suffix, group in {**self._groups(name), **self._sizes(name), **self._named(name)}.items():
                if group.any():
                    yield f"{name}_top1{suffix}", float(right[group].mean())
            if len(targets):
                if len(self._reader.classes.things) > TOP:
                    yield f"{name}_top{TOP}", float((rank < TOP).mean())
                yield f"{name}_per_class", float(np.mean([top1 for _, _, top1 in self.per_class(name)]))
            if name in self._stuff:
                yield f"{name}_stuff_top1", float(np.concatenate(self._stuff[name]).mean())

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return top-1 of all, seen and held-out regions; images are drawn together with all their regions.

        Regions from fewer than `FEWEST_IMAGES` images get no interval.
        """
        metrics: dict[str, Weighted] = {}
        for name in self.readouts:
            right = (self.predictions(name) == self.targets(name)).astype(np.float64)
            image = np.array([fact.image for fact in self._readable(name)], dtype=np.int64)
            for suffix, group in self._groups(name).items():
                if len(np.unique(image[group])) >= FEWEST_IMAGES:
                    metrics[f"{name}_top1{suffix}"] = mean_over_items(right[group], image[group], self._images)
        return (self._images, metrics) if metrics else (0, {})

    def per_class(self, readout: str) -> Iterator[tuple[str, int, float]]:
        """Yield name, number of regions and top-1 accuracy of each thing that has regions."""
        targets = self.targets(readout)
        right = self.predictions(readout) == targets
        for label, name in enumerate(self._reader.classes.things):
            of_class = targets == label
            if of_class.any():
                yield name, int(of_class.sum()), float(right[of_class].mean())

    def cost_ms(self, image_s: float) -> dict[str, float]:
        """Return the milliseconds per image of each read-out, as measured in this run.

        Args:
            image_s: seconds of the forward passes of all whole images, which count for read-outs that build on them.
        """
        return {
            name: 1e3
            * (self._seconds[name] / readout.variants + (image_s if readout.reads_image else 0.0))
            / self._images
            for name, readout in self._pairs
            if name in self._seconds
        }

    def protocol(self) -> dict[str, Any]:
        """Return regions, classes, the rule for crowds and the protocol of each read-out."""
        return {
            **self._reader.protocol(),
            **self._reader.thing_protocol(),
            "images": self._images,
            "regions": len(self._facts),
            "crowd": self._reader.params.crowd,
            "readouts": {name: readout.protocol(self._reader) for name, readout in self._pairs},
        }

    def _read(self, name: str, batch: RegionBatch) -> None:
        target = torch.tensor([region.label for _, region in batch.regions])[:, None]
        start = time.perf_counter()
        embedded = self.readouts[name](self._reader, batch)
        self._seconds[name] += time.perf_counter() - start
        for variant, embedding in enumerate(embedded):
            scores = embedding @ self._reader.things.T
            self._predicted[name][variant].append(scores.argmax(1).numpy())
            self._rank[name][variant].append(_rank(scores, target))

    def _add_stuff(self, examples: Sequence[Example], seen: Seen) -> None:
        regions = [(i, r) for i, e in enumerate(examples) for r in e.stuff if r.mask is not None]
        if not regions or "mask" not in self.readouts:
            return
        scores = self.readouts["mask"](self._reader, RegionBatch(examples, regions, seen))[0] @ self._reader.stuff.T
        label = np.array([region.label for _, region in regions]) - len(self._reader.classes.things)
        self._stuff["mask"].append(scores.argmax(1).numpy() == label)

    def _groups(self, readout: str) -> dict[str, Bool[np.ndarray, " r"]]:
        held_out = self._reader.classes.held_out_mask()[self.targets(readout)]
        return {"": np.ones_like(held_out), "_seen": ~held_out, "_heldout": held_out}

    def _sizes(self, readout: str) -> dict[str, Bool[np.ndarray, " r"]]:
        size = np.array([fact.size for fact in self._readable(readout)], dtype=np.int64)
        return {f"_{name}": size == number for number, name in enumerate(_SIZES)}

    def _named(self, readout: str) -> dict[str, Bool[np.ndarray, " r"]]:
        classes, targets = self._reader.classes, self.targets(readout)
        of_group = {
            name: np.array([label in labels for label in classes.things], dtype=np.bool_)
            for name, labels in classes.groups.items()
        }
        return {f"_{name}": member[targets] for name, member in of_group.items()}

    def _readable(self, readout: str) -> list[RegionFact]:
        """Return the regions that a read-out can read: all, or those whose mask is known."""
        needs_masks = self.readouts[readout].needs_masks if readout in self.readouts else False
        return [fact for fact in self._facts if fact.has_mask or not needs_masks]

    def _chosen(self, readout: str, values: dict[str, list[list[np.ndarray]]]) -> Int64[np.ndarray, " r"]:
        """Return the values of one variant: for each half of the images the one that is best on the other half."""
        none = np.zeros(0, dtype=np.int64)
        each = np.stack([np.concatenate([none, *parts]) for parts in values[readout]])
        predicted = np.stack([np.concatenate([none, *parts]) for parts in self._predicted[readout]])
        second = np.array([fact.second_half for fact in self._readable(readout)], dtype=np.bool_)
        return best_of_other_half(each, predicted == self.targets(readout), second)


def covering_readouts(models: Sequence[RegionTop1], first: Sequence[str]) -> list[str]:
    """Return the read-outs of all models that read every region, the preferred ones first; none without regions.

    Predictions by mask cover all things of the scenes only if each of them has a mask.
    """
    names = dict.fromkeys([*first, *models[0].readouts])
    return [
        name
        for name in names
        if all(m.regions and name in m.readouts and len(m.predictions(name)) == m.regions for m in models)
    ]


def _rank(scores: Tensor, target: Tensor) -> Int64[np.ndarray, " r"]:
    """Count the things that rank before the true one; ties are ordered by index, as for argmax."""
    true = scores.gather(1, target)
    earlier = torch.arange(scores.shape[1]) < target
    return ((scores > true) | ((scores == true) & earlier)).sum(1).numpy()


def _size_of(region: TrueRegion) -> int:
    """Return 0, 1 or 2 for a small, medium or large region, by COCO's areas."""
    x0, y0, x1, y1 = region.box_xyxy
    area = (x1 - x0) * (y1 - y0) if region.mask is None else float(region.mask.sum())
    return int(area >= SMALL_PX) + int(area >= LARGE_PX)
