"""The benchmarks of one model, which share one forward pass of each image."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from umgclip.evaluate.benchmarks import (
    classification,
    detection,
    fine_grained,
    panoptic,
    patterns,
    region,
    retrieval,
    semantic,
    tagging,
)
from umgclip.evaluate.benchmarks.evaluator import Evaluator
from umgclip.evaluate.benchmarks.segmented import SegmentReader
from umgclip.evaluate.examples import Example
from umgclip.evaluate.given_boxes import GivenBoxes
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.bootstrap import draw
from umgclip.metrics.weighted import FEWEST_IMAGES
from umgclip.records import Region

PROTOCOLS = {
    "classification": classification.PROTOCOL,
    "retrieval": retrieval.PROTOCOL,
    "tagging": tagging.PROTOCOL,
    "region": region.PROTOCOL,
    "fine_grained": fine_grained.PROTOCOL,
    "semantic": semantic.PROTOCOL,
    "patterns": patterns.PROTOCOL,
    "panoptic": panoptic.PROTOCOL,
    "detection": detection.PROTOCOL,
}


class Suite:
    """Evaluators that share one forward pass of each image.

    Args:
        name: `base` or `tuned`.
        reader: the model.
        proposals: class-agnostic regions by image key, for each proposer.
        segments: a decoder on this model, or None.
        boxes: boxes of a file for detection, in place of the proposals; or None.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        proposals: Mapping[str, Mapping[str, Sequence[Region]]],
        segments: SegmentReader | None = None,
        boxes: GivenBoxes | None = None,
    ) -> None:
        self.name = name
        self.reader = reader
        self.classification = classification.Classification(reader)
        self.retrieval = retrieval.Retrieval(reader)
        self.tagging = tagging.Tagging(reader)
        self.region = region.RegionTop1(reader)
        self.fine_grained = fine_grained.FineGrained(reader)
        self.semantic = semantic.Semantic(reader)
        self.panoptic = panoptic.Panoptic(reader, proposals, segmented=segments is not None)
        self.patterns = patterns.Patterns(reader)
        self.detection = detection.DetectedByName(reader, proposals.get("proposals"), boxes)
        self._segments = segments
        self._scene_s = 0.0

    @property
    def _of_scenes(self) -> tuple[Evaluator, ...]:
        return (
            self.retrieval,
            self.tagging,
            self.region,
            self.fine_grained,
            self.semantic,
            self.patterns,
            self.panoptic,
            self.detection,
        )

    @property
    def evaluators(self) -> dict[str, Evaluator]:
        """The benchmarks of this suite by their names."""
        return {name: getattr(self, name) for name in PROTOCOLS}

    def add(self, examples: Sequence[Example]) -> Seen:
        """Evaluate a batch, all singles or all scenes, and return the model's embeddings; pixels are not kept."""
        start = time.perf_counter()
        seen = self.reader.see(examples)
        if examples[0].single:
            self.classification.add(examples, seen)
            return seen
        self._scene_s += time.perf_counter() - start
        if self._segments is not None:
            seen = replace(seen, segments=self._segments.read(examples))
        for evaluator in self._of_scenes:
            evaluator.add(examples, seen)
        return seen

    def results(self) -> dict[str, dict[str, float]]:
        """Return the metrics by benchmark, as fractions of 1; a benchmark without examples is left out."""
        results = {name: dict(evaluator.results()) for name, evaluator in self.evaluators.items()}
        return {name: metrics for name, metrics in results.items() if metrics}

    def protocols(self) -> dict[str, dict[str, Any]]:
        """Return how each benchmark was measured, as the fields that a comparable result has to share."""
        return {name: evaluator.protocol() for name, evaluator in self.evaluators.items()}

    def draws(self, resamples: int) -> dict[str, dict[str, Any]]:
        """Return values of the metrics with an interval on random draws of the images, by benchmark.

        Two suites that saw the same images get the same draws. Benchmarks of fewer than `FEWEST_IMAGES` images are left
        out, because so few images do not show how precise a number is.
        """
        drawn = {}
        for name, evaluator in self.evaluators.items():
            images, metrics = evaluator.weighted()
            if metrics and resamples and images >= FEWEST_IMAGES:
                drawn[name] = draw(metrics, images, resamples=resamples)
        return drawn

    def cost_ms(self) -> dict[str, float]:
        """Return the milliseconds per image of each read-out in this run, for the dense map with its forward pass."""
        return self.region.cost_ms(self._scene_s)
