"""The choice of images for the page: where the tuned model is most and least sure, and where tuning changed most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.benchmarks.panoptic import PanopticMap, name_proposals
from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.evaluate.report.case import (
    Case,
    Guess,
    ShownMap,
    grid_of,
    hidden_regions,
    picture,
    shown_map,
    shown_regions,
)
from umgclip.evaluate.report.predictions import FILE, Predictions
from umgclip.evaluate.report.ranking import Ranking
from umgclip.io.atomic import write_json
from umgclip.model.clip.readout import pool_boxes, read_masks
from umgclip.records import Region

_TOP, _CAPTIONS = 3, 3
KEYS = "cases.json"
KINDS = ("worst", "lost", "gained", "best")
Probabilities = Float[np.ndarray, "rows things"]


@dataclass
class Gallery:
    """The images with the highest and lowest certainty, and with the largest changes by tuning."""

    size: int
    kinds: dict[str, Ranking[Case]] = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = {name: Ranking(self.size) for name in KINDS}

    def offer(self, before: float, after: float, draw: Callable[[], Case]) -> None:
        """Keep an image if it ranks high enough in one of the kinds; `draw` is called at most once.

        Args:
            before: the base's probability of the truth.
            after: the tuned model's probability of the truth.
            draw: makes the entry of the image.
        """
        scores = {"worst": -after, "lost": before - after, "gained": after - before, "best": after}
        wanted = [
            name
            for name, ranking in self.kinds.items()
            # an image without a change is no example of one
            if ranking.accepts(scores[name]) and (scores[name] > 0 or name == "worst")
        ]
        if wanted:
            case = draw()
            for name in wanted:
                self.kinds[name].add(scores[name], case)

    def shown(self) -> list[tuple[str, list[Case]]]:
        """Return the kinds that have images, each with its images, the highest rank first."""
        entries = [(name, [case for _, case in ranking.entries()]) for name, ranking in self.kinds.items()]
        return [(name, cases) for name, cases in entries if cases]


class Cases:
    """Galleries of scenes and of single objects, filled batch by batch from the models' embeddings.

    Args:
        readers: the models, the base first and the tuned one last.
        names: their names.
        proposals: the annotator's regions by image key.
        size: number of images in each gallery.
    """

    def __init__(
        self, readers: Sequence[Reader], names: Sequence[str], proposals: Mapping[str, Sequence[Region]], size: int
    ) -> None:
        self._readers, self._names, self._proposals = readers, names, proposals
        self._classes = readers[0].classes
        self.scenes, self.singles = Gallery(size), Gallery(size)
        self._predictions = Predictions(self._classes.names, names)
        self.sides: list[float] = []  # of every thing of the scenes: root of its box's share of the image

    def add(self, examples: Sequence[Example], seens: Sequence[Seen]) -> None:
        """Offer a batch, all singles or all scenes, with each model's embeddings of it."""
        for row, example in enumerate(examples):
            if example.single:
                self._single(example, [seen.image[row] for seen in seens])
            elif example.things:
                self._scene(example, [seen.dense[row] for seen in seens])

    def write(self, folder: Path) -> None:
        """Write every prediction as `predictions.parquet`, and the keys of the images shown as `cases.json`."""
        self._predictions.write(folder / FILE)
        galleries = {"scenes": self.scenes, "singles": self.singles}
        shown = {
            name: {kind: [case.key for case in cases] for kind, cases in gallery.shown()}
            for name, gallery in galleries.items()
        }
        write_json(folder / KEYS, shown)

    def _single(self, example: Example, images: Sequence[Float[Tensor, " d"]]) -> None:
        probabilities = [
            reader.probabilities(image[None]).numpy() for reader, image in zip(self._readers, images, strict=True)
        ]
        label = example.tags[0]
        self._predictions.add(example.key, [None], [label], probabilities)
        sure = tuple(float(each[0, label]) for each in probabilities)

        def draw() -> Case:
            named = zip(self._names, probabilities, strict=True)
            guesses = tuple((name, self._best(each[0], label)) for name, each in named)
            of_things = [[one[0]] * len(example.things) for _, one in guesses]
            regions = shown_regions(example, of_things, self._classes.names, self._classes.held_out)
            name = self._classes.names[label]
            return self._case(
                example, sure, guesses=guesses, regions=regions, truth=name, held_out=name in self._classes.held_out
            )

        self.singles.offer(sure[0], sure[-1], draw)

    def _scene(self, example: Example, dense: Sequence[Float[Tensor, "d h w"]]) -> None:
        pairs = zip(self._readers, dense, strict=True)
        probabilities = [_region_probabilities(reader, each, example) for reader, each in pairs]
        labels = [thing.label for thing in example.things]
        self._predictions.add(example.key, [thing.id for thing in example.things], labels, probabilities)
        sure = tuple(float(each[np.arange(len(labels)), labels].mean()) for each in probabilities)
        pixels = example.pixels.shape[0] * example.pixels.shape[1]
        self.sides += [math.sqrt(_area(thing.box_xyxy) / pixels) for thing in self._readers[0].counted(example)]

        def draw() -> Case:
            guesses = [
                [self._best(row, label)[0] for row, label in zip(each, labels, strict=True)] for each in probabilities
            ]
            regions = shown_regions(example, guesses, self._classes.names, self._classes.held_out)
            return self._case(
                example,
                sure,
                regions=regions,
                more_regions=hidden_regions(example),
                maps=self._maps(example, dense),
            )

        self.scenes.offer(sure[0], sure[-1], draw)

    def _case(self, example: Example, sure: tuple[float, ...], **what: Any) -> Case:  # noqa: ANN401 - fields of a case
        pixels = example.pixels
        return Case(example.key, picture(pixels), grid_of(pixels), example.captions[:_CAPTIONS], sure, **what)

    def _best(self, probabilities: np.ndarray, label: int) -> tuple[Guess, ...]:
        order = np.argsort(-probabilities, kind="stable")[:_TOP]
        names = self._classes.names
        return tuple(Guess(names[i], float(probabilities[i]), bool(i == label)) for i in order)

    def _maps(self, example: Example, dense: Sequence[Float[Tensor, "d h w"]]) -> tuple[ShownMap, ...]:
        """Return maps of the truth and of the proposals as each model names them; none if the truth has no masks."""
        if not example.segments[1]:
            return ()
        proposals = self._proposals.get(example.key, ())
        maps = [("truth", PanopticMap(*example.segments))] + [
            (name, name_proposals(reader, each, example, proposals))
            for name, reader, each in zip(self._names, self._readers, dense, strict=True)
        ]
        return tuple(shown_map(title, each, self._classes.names, example) for title, each in maps)


def _area(box_xyxy: tuple[float, float, float, float]) -> float:
    x0, y0, x1, y1 = box_xyxy
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)


def _region_probabilities(reader: Reader, dense: Float[Tensor, "d h w"], example: Example) -> Probabilities:
    """Return each true thing's probabilities over all things, read by mask, or by box if any mask is unknown."""
    masks = [thing.mask for thing in example.things if thing.mask is not None]
    if len(masks) == len(example.things):
        return reader.probabilities(read_masks(dense, masks)).numpy()
    height, width = example.pixels.shape[:2]
    boxes = torch.tensor([thing.box_xyxy for thing in example.things]) / torch.tensor([width, height, width, height])
    rows = pool_boxes(dense[None], boxes, torch.zeros(len(boxes), dtype=torch.long), reader.params.box_share)
    return reader.probabilities(rows).numpy()
