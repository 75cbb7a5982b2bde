"""The curves of the page: top-k, recall at k, precision and recall of tags, accuracy by object size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from umgclip.evaluate.benchmarks.region import covering_readouts
from umgclip.evaluate.report.charts import Chart, Series, line_chart
from umgclip.evaluate.suite import Suite

_TOP_K, _POINTS, _SIZES, _MOST_PAIRS = 20, 60, 6, 20_000_000
_Z = 1.96  # of a 95 % interval


def curves(metrics: Mapping[str, Any], suites: Sequence[Suite], sides: Sequence[float]) -> dict[str, list[Chart]]:
    """Draw the charts of each benchmark that was measured for all models.

    Args:
        metrics: metrics of all models, as in `evaluate.json`.
        suites: the suites after the benchmark.
        sides: the root of the box's share of the image, for every true thing of the scenes.
    """
    charts: dict[str, Callable[[], Iterator[Chart]]] = {
        "classification": lambda: _top_k(suites),
        "retrieval": lambda: _recall(metrics, suites),
        "tagging": lambda: _precision(suites),
        "region": lambda: _by_size(suites, np.array(sides, np.float64)),
    }
    measured = {name: draw for name, draw in charts.items() if all(name in metrics[s.name] for s in suites)}
    return {name: list(draw()) for name, draw in measured.items()}


def _top_k(suites: Sequence[Suite]) -> Iterator[Chart]:
    series = []
    for model, suite in enumerate(suites):
        scores, target = suite.classification.scores()
        ranks = true_ranks(scores, target)
        most = min(_TOP_K, scores.shape[1])
        points = tuple((float(k), float((ranks < k).mean()), None, None) for k in range(1, most + 1))
        series.append(Series(suite.name, model, points))
    yield line_chart("Top-k accuracy", "Single objects: share whose true class is among the k best scored.",
                     ("k", "share of images"), series)  # fmt: skip


def true_ranks(scores: Float[np.ndarray, "n classes"], target: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Count the classes that score above the true one, or equal and with a lower index."""
    true = scores[np.arange(len(target)), target][:, None]
    before = np.arange(scores.shape[1])[None] < target[:, None]
    return ((scores > true) | ((scores == true) & before)).sum(1)


def _recall(metrics: Mapping[str, Any], suites: Sequence[Suite]) -> Iterator[Chart]:
    series = []
    for model, suite in enumerate(suites):
        recall = metrics[suite.name]["retrieval"]
        for way, words in (("i2t", "image to text"), ("t2i", "text to image")):
            ks = [k for k in (1, 5, 10) if f"{way}_r{k}" in recall]
            points = tuple((float(k), recall[f"{way}_r{k}"], None, None) for k in ks)
            series.append(Series(f"{suite.name}, {words}", model, points, dashed=way == "t2i"))
    yield line_chart("Recall at k", "Share of images (texts) that find one of theirs among the k nearest.",
                     ("k", "recall"), series)  # fmt: skip


def _precision(suites: Sequence[Suite]) -> Iterator[Chart]:
    series = []
    for model, suite in enumerate(suites):
        curve = precision_recall(*suite.tagging.scores())
        series.append(Series(suite.name, model, tuple((x, y, None, None) for x, y in curve)))
    yield line_chart("Precision and recall of tags", "All pairs of scene and class by falling score, together.",
                     ("recall", "precision"), series)  # fmt: skip


def precision_recall(
    scores: Float[np.ndarray, "n classes"], target: Bool[np.ndarray, "n classes"]
) -> list[tuple[float, float]]:
    """Return recall and precision at thresholds spread evenly over the true pairs.

    With very many rows, evenly spaced ones are used.
    """
    step = math.ceil(scores.size / _MOST_PAIRS)
    scores, target = scores[::step], target[::step]
    order = np.argsort(-scores, axis=None, kind="stable")
    hits = np.cumsum(target.ravel()[order])
    total = int(hits[-1])
    if not total:
        return []
    wanted = np.unique(np.linspace(1, total, min(_POINTS, total)).round().astype(np.int64))
    ranks = np.searchsorted(hits, wanted)
    return [(float(n / total), float(n / (rank + 1))) for n, rank in zip(wanted, ranks, strict=True)]


def _by_size(suites: Sequence[Suite], sides: Float[np.ndarray, " r"]) -> Iterator[Chart]:
    readout = best_readout(suites)
    if readout is None or len(sides) < _SIZES:
        return
    edges = np.quantile(sides, np.linspace(0, 1, _SIZES + 1))
    bins = np.clip(np.searchsorted(edges, sides, side="right") - 1, 0, _SIZES - 1)
    series = []
    for model, suite in enumerate(suites):
        right = suite.region.predictions(readout) == suite.region.targets(readout)
        points = []
        for number in range(_SIZES):
            inside = bins == number
            if inside.any():
                low, high = wilson(int(right[inside].sum()), int(inside.sum()))
                centre = round(float(np.median(sides[inside])), 3)
                points.append((centre, float(right[inside].mean()), low, high))
        series.append(Series(suite.name, model, tuple(points)))
    note = f"Read-out {readout}; as many regions in each of {_SIZES} sizes; bars: 95 % intervals (Wilson)."
    yield line_chart("Region top-1 by size", note, ("side of the box, share of the image", "top-1"), series)


def best_readout(suites: Sequence[Suite]) -> str | None:
    """Return the read-out for curves: mask if all regions have one, else box; None without regions."""
    return next(iter(covering_readouts([suite.region for suite in suites], ("mask", "box"))), None)


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a share; also valid for few trials (Wilson 1927)."""
    share, square = right / count, _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)
