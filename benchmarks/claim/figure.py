"""Draw one figure: the metrics of every model, and of weights between the base and the tuned model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.claim.models import BASE, LABELS, MULTI_GRAIN
from benchmarks.claim.results import Claim, Value, summarise
from umgclip.evaluate.report import drawing

_BARS = (
    ("zero-shot top-1", "classification.top1"),
    ("image to text R@1", "retrieval.i2t_r1"),
    ("region top-1", "region.mask_top1"),
    ("... held out", "region.mask_top1_heldout"),
    ("mIoU", "semantic.miou"),
    ("PQ, true masks", "panoptic.pq_true_masks"),
)
_COLOURS = ("#8c959f", "#bf8700", "#0969da", "#1a7f37", "#8250df")
_IMAGE_LEVEL = ("classification.top1", "retrieval.i2t_r1", "retrieval.t2i_r1")


def write(path: Path, claim: Claim) -> None:
    """Draw the claim's figure as a PNG with few colours."""
    figure = Figure(figsize=(11, 4.2), dpi=drawing.DPI, layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (3, 2)})
    _bars(left, claim)
    _way(right, claim)
    drawing.save(figure, path)


def _bars(axes: Axes, claim: Claim) -> None:
    models = [name for name in LABELS if name in claim.models]
    width = 0.8 / len(models)
    for number, model in enumerate(models):
        values = [claim.value(model, metric) for _, metric in _BARS]
        places = np.arange(len(_BARS)) + (number - (len(models) - 1) / 2) * width
        heights = [0.0 if value is None else value.mean for value in values]
        errors = np.array([_error(value) for value in values]).T
        axes.bar(places, heights, width, yerr=errors, label=LABELS[model], color=_COLOURS[number],
                 error_kw={"elinewidth": 0.9})  # fmt: skip
    axes.set_xticks(np.arange(len(_BARS)), [label for label, _ in _BARS], fontsize=7)
    axes.set_ylim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7.5, frameon=False, loc="upper right")


def _error(value: Value | None) -> tuple[float, float]:
    """Return the lower and upper error: to the ends of the interval, else the spread over seeds."""
    if value is None:
        return 0.0, 0.0
    if value.interval is None:
        return value.spread or 0.0, value.spread or 0.0
    return max(0.0, value.mean - value.interval[0]), max(0.0, value.interval[1] - value.mean)


def _way(axes: Axes, claim: Claim) -> None:
    """Plot region quality over image-level quality; up and to the right is better at both."""
    line = {0.0: claim.models[BASE], 1.0: claim.models[MULTI_GRAIN]} | claim.sweep
    points = {alpha: _place(runs) for alpha, runs in sorted(line.items())}
    axes.plot([x for x, _ in points.values()], [y for _, y in points.values()], "o-", color=_COLOURS[2], markersize=4)
    for alpha, (x, y) in points.items():
        axes.annotate(f"{alpha:g}", (x, y), fontsize=7, xytext=(3, 4), textcoords="offset points")
    for model, colour in zip(LABELS, _COLOURS, strict=True):
        if model in claim.models and model != MULTI_GRAIN:
            axes.plot(*_place(claim.models[model]), "s", color=colour, markersize=7)
    axes.set_xlabel("image level: mean of zero-shot top-1 and R@1 both ways", fontsize=8)
    axes.set_ylabel("regions by masks, top-1", fontsize=8)
    axes.set_title("base (0) to multi-grain (1) along the weights", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _place(runs: list) -> tuple[float, float]:
    image = [value.mean for metric in _IMAGE_LEVEL if (value := summarise(runs, metric)) is not None]
    region = summarise(runs, "region.mask_top1")
    return float(np.mean(image)), 0.0 if region is None else region.mean
