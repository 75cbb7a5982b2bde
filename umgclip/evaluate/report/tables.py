"""The tables of the page: metrics of both models, classes and confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from umgclip.evaluate.report.curves import best_readout
from umgclip.evaluate.suite import Suite

_PAIRS, _MATRIX = 20, 12
LABELS = {
    "top1": "top-1", "top5": "top-5", "i2t": "image to text", "t2i": "text to image", "map": "mean average precision",
    "miou": "mean IoU", "pixel_accuracy": "pixel accuracy", "pq": "PQ", "sq": "SQ", "rq": "RQ", "heldout": "held out",
    "maskout": "masked-out crop", "r1": "R@1", "r5": "R@5", "r10": "R@10", "true": "true", "f1": "F1",
}  # fmt: skip
TITLES = {
    "patterns": "Visual patterns",
    "classification": "Zero-shot classification", "retrieval": "Retrieval", "tagging": "Tagging",
    "fine_grained": "Fine-grained regions", "detection": "Open-vocabulary detection",
    "region": "Regions", "semantic": "Semantic segmentation", "panoptic": "Panoptic segmentation",
}  # fmt: skip


@dataclass(frozen=True)
class MetricRow:
    """One metric, with the value (None: not measured) and the interval (None: unknown) of each model."""

    metric: str
    label: str
    values: tuple[float | None, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    change_interval: tuple[float, float] | None = None

    @property
    def change(self) -> float | None:
        """The difference of the last model to the first one."""
        first, last = self.values[0], self.values[-1]
        return None if first is None or last is None else last - first


@dataclass(frozen=True)
class ClassRow:
    """The share of regions of one class that each model names correctly."""

    name: str
    held_out: bool
    regions: int
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Pair:
    """Two classes of which the first is taken for the second: count of each model, and number of true ones."""

    actual: str
    predicted: str
    counts: tuple[int, ...]
    of: int


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix of the classes with the most errors: rows true, columns predicted, the last all others."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Confusion:
    """The confusions of one task: pairs for both models, and a matrix for the last one."""

    title: str
    pairs: tuple[Pair, ...]
    matrix: Matrix


def metric_label(metric: str) -> str:
    """Return a metric's name in words: `mask_top1_heldout` is "mask top-1 held out"."""
    if metric in LABELS:
        return LABELS[metric]
    return " ".join(LABELS.get(part, part) for part in metric.split("_"))


def metric_rows(metrics: Mapping[str, Any], names: Sequence[str], benchmark: str) -> list[MetricRow]:
    """Return the rows of one benchmark, for every number that any of the models has.

    Args:
        metrics: metrics of all models, as in `evaluate.json`.
        names: names of the models.
        benchmark: name of the benchmark.
    """
    groups = [metrics[name].get(benchmark, {}) for name in names]
    every = dict.fromkeys(metric for group in groups for metric, value in group.items() if _is_number(value))
    return [
        MetricRow(
            metric,
            metric_label(metric),
            tuple(group.get(metric) for group in groups),
            tuple(interval_of(metrics, name, benchmark, metric) for name in names),
            interval_of(metrics, "change", benchmark, metric),
        )
        for metric in every
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def interval_of(metrics: Mapping[str, Any], model: str, benchmark: str, metric: str) -> tuple[float, float] | None:
    """Return the ends of a metric's 95 % interval, or None; `change` as the model gives that of the change."""
    ends = metrics.get("intervals", {}).get(model, {}).get(benchmark, {}).get(metric)
    return None if ends is None else (float(ends["low"]), float(ends["high"]))


def class_rows(suites: Sequence[Suite]) -> list[ClassRow]:
    """Return a row for every thing that has regions, read by mask, or by box if a mask is unknown."""
    readout = best_readout(suites)
    if readout is None:
        return []
    held_out = suites[0].reader.classes.held_out
    per_model = [list(suite.region.per_class(readout)) for suite in suites]
    return [
        ClassRow(rows[0][0], rows[0][0] in held_out, rows[0][1], tuple(share for _, _, share in rows))
        for rows in zip(*per_model, strict=True)
    ]


def confusions(metrics: Mapping[str, Any], suites: Sequence[Suite]) -> list[Confusion]:
    """Return the confusions of single objects by the image's embedding, and of regions by the dense map."""
    names = suites[0].reader.classes.things
    confusions = []
    if all("classification" in metrics[suite.name] for suite in suites):
        scored = [suite.classification.scores() for suite in suites]
        predicted = [scores.argmax(1) for scores, _ in scored]
        confusions.append(_confusion("Single objects", scored[0][1], predicted, names))
    readout = best_readout(suites)
    if readout is not None:
        predicted = [suite.region.predictions(readout) for suite in suites]
        target = suites[0].region.targets(readout)
        confusions.append(_confusion(f"Regions, read by {readout}", target, predicted, names))
    return [one for one in confusions if one.pairs]


def _confusion(
    title: str, target: Int64[np.ndarray, " n"], predicted: Sequence[Int64[np.ndarray, " n"]], names: Sequence[str]
) -> Confusion:
    counted = [Counter(zip(target.tolist(), each.tolist(), strict=True)) for each in predicted]
    of = Counter(target.tolist())
    wrong = [(count, pair) for pair, count in counted[-1].items() if pair[0] != pair[1]]
    most = sorted(wrong, key=lambda entry: (-entry[0], entry[1]))[:_PAIRS]
    pairs = tuple(
        Pair(names[actual], names[guess], tuple(each[actual, guess] for each in counted), of[actual])
        for _, (actual, guess) in most
    )
    return Confusion(title, pairs, _matrix(counted[-1], names))


def _matrix(counted: Mapping[tuple[int, int], int], names: Sequence[str]) -> Matrix:
    errors: Counter[int] = Counter()
    for (actual, guess), count in counted.items():
        if actual != guess:
            errors[actual] += count
    worst = [label for label, _ in sorted(errors.items(), key=lambda entry: (-entry[1], entry[0]))[:_MATRIX]]
    rows = []
    for actual in worst:
        inside = [counted.get((actual, guess), 0) for guess in worst]
        rest = sum(count for (label, _), count in counted.items() if label == actual) - sum(inside)
        rows.append((*inside, rest))
    return Matrix(tuple(names[label] for label in worst), tuple(rows))
