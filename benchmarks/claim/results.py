"""Aggregate the results of the runs over seeds, and compare them with the claimed targets."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from benchmarks.claim.models import CONTROL, MULTI_GRAIN, TRUE
from umgclip.metrics.bootstrap import spread_over_seeds
from umgclip.params import ReadoutName

COLUMNS = (
    ("zero-shot top-1", "classification.top1"),
    ("image to text R@1", "retrieval.i2t_r1"),
    ("text to image R@1", "retrieval.t2i_r1"),
    ("tagging mAP", "tagging.map"),
    ("tagging mAP, dense map", "tagging.map_dense"),
    ("region top-1, boxes", "region.box_top1"),
    ("region top-1, masks", "region.mask_top1"),
    ("... held out", "region.mask_top1_heldout"),
    ("mIoU", "semantic.miou"),
    ("mIoU, refined", "semantic.miou_refined"),
    ("PQ, true masks", "panoptic.pq_true_masks"),
    ("PQ, proposals", "panoptic.pq_proposals"),
)
NEED_MASKS = ("mask", "maskout", "last_mask", "surgery_mask")


@dataclass(frozen=True)
class Value:
    """A metric of one model: mean over seeds, their standard deviation (None: one seed), a 95 % interval.

    The interval is over images, with its ends averaged over the seeds; None if it was not measured.
    """

    mean: float
    spread: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Readout:
    """The results of a region read-out for the base and the multi-grain model, and its cost."""

    name: str
    base: float
    tuned: float
    base_held_out: float | None
    tuned_held_out: float | None
    cost_ms: float | None


@dataclass(frozen=True)
class Target:
    """A target: its statement, the measured value, and the required minimum."""

    statement: str
    measured: float
    least: float

    @property
    def reached(self) -> bool:
        """True if the measured value reaches the required minimum."""
        return self.measured >= self.least


@dataclass
class Claim:
    """All results that the page and the figure show.

    Attributes:
        seeds: seeds of the trainings.
        models: metrics by model, one entry per seed; the base has one.
        sweep: the same for interpolated weights, by their position between base (0) and multi-grain model (1).
        readouts: results of region read-outs, for the first seed.
    """

    seeds: Sequence[int]
    models: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    sweep: dict[float, list[Mapping[str, Any]]] = field(default_factory=dict)
    readouts: list[Readout] = field(default_factory=list)

    def value(self, model: str, metric: str) -> Value | None:
        """Return a metric of a model over the seeds; None if it was not measured."""
        return summarise(self.models.get(model, []), metric)


def side(metrics: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the metrics and intervals of one model from the contents of `evaluate.json`."""
    return {"values": metrics[model], "intervals": metrics.get("intervals", {}).get(model, {})}


def summarise(runs: Sequence[Mapping[str, Any]], metric: str) -> Value | None:
    """Return mean, spread and interval of a metric over the seeds."""
    group, name = metric.split(".")
    values = [run["values"][group][name] for run in runs if name in run["values"].get(group, {})]
    if not values:
        return None
    ends = [run["intervals"][group][name] for run in runs if name in run["intervals"].get(group, {})]
    interval = (statistics.mean(e["low"] for e in ends), statistics.mean(e["high"] for e in ends)) if ends else None
    aggregate = spread_over_seeds(values)
    return Value(aggregate.mean, aggregate.deviation if aggregate.runs > 1 else None, interval)


def readouts_of(metrics: Mapping[str, Any]) -> list[Readout]:
    """Return the results of every read-out of one evaluation."""
    base, tuned = metrics["base"]["region"], metrics["tuned"]["region"]
    cost = metrics.get("cost", {}).get("base", {})
    return [
        Readout(
            name,
            base[f"{name}_top1"],
            tuned[f"{name}_top1"],
            base.get(f"{name}_top1_heldout"),
            tuned.get(f"{name}_top1_heldout"),
            cost.get(name),
        )
        for name in get_args(ReadoutName)
        if f"{name}_top1" in base
    ]


def targets(claim: Claim) -> list[Target]:
    """Return the targets whose values were measured."""
    return [*_against_readouts(claim), *_against_control(claim), *_of_true_annotations(claim)]


def _against_readouts(claim: Claim) -> Iterable[Target]:
    """Yield targets of ten points above the base's best read-out that needs the same input (boxes or masks)."""
    for kind, ours, names in (
        ("boxes", "box", [r for r in claim.readouts if r.name not in NEED_MASKS]),
        ("masks", "mask", [r for r in claim.readouts if r.name in NEED_MASKS]),
    ):
        tuned = claim.value(MULTI_GRAIN, f"region.{ours}_top1")
        if tuned is not None and names:
            best = max(names, key=lambda readout: readout.base)
            statement = (
                f"regions by {kind}: multi-grain above the best read-out of the base ({best.name}, {best.base:.3f}) "
                f"by 10 points"
            )
            yield Target(statement, tuned.mean - best.base, 0.10)


def _against_control(claim: Claim) -> Iterable[Target]:
    for metric, label in (
        ("retrieval.i2t_r1", "image to text R@1"),
        ("retrieval.t2i_r1", "text to image R@1"),
        ("classification.top1", "zero-shot top-1"),
    ):
        tuned, control = claim.value(MULTI_GRAIN, metric), claim.value(CONTROL, metric)
        if tuned is not None and control is not None:
            yield Target(f"{label}: multi-grain at most 1 point below the control", tuned.mean - control.mean, -0.01)


def _of_true_annotations(claim: Claim) -> Iterable[Target]:
    for metric, label, least in (
        ("region.mask_top1", "regions by masks, top-1", 0.55),
        ("region.mask_top1_heldout", "the same, held-out classes", 0.45),
        ("semantic.miou", "mIoU", 0.24),
        ("semantic.miou_refined", "mIoU, refined (PAMR)", 0.24),
        ("panoptic.pq_true_masks", "PQ with true masks", 0.55),
    ):
        tuned = claim.value(TRUE, metric)
        if tuned is not None:
            yield Target(f"true annotations: {label}", tuned.mean, least)
