"""What the runs gave, over seeds, and whether that is what was claimed."""

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

    The interval is that of the images, its ends averaged over the seeds; None where it was not measured.
    """

    mean: float
    spread: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Readout:
    """One way to read regions: of the base and of the multi-grain model, and what it costs."""

    name: str
    base: float
    tuned: float
    base_held_out: float | None
    tuned_held_out: float | None
    cost_ms: float | None


@dataclass(frozen=True)
class Target:
    """A sentence, what was measured, and the least that was asked for."""

    said: str
    measured: float
    least: float

    @property
    def reached(self) -> bool:
        """Whether it is so."""
        return self.measured >= self.least


@dataclass
class Claim:
    """Everything that the page and the figure show.

    Attributes:
        seeds: of the trainings.
        models: metrics by model, one entry a seed; the base has one.
        sweep: the same of the multi-grain model by its share of the way from the base.
        readouts: ways to read regions, of the first seed.
    """

    seeds: Sequence[int]
    models: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    sweep: dict[float, list[Mapping[str, Any]]] = field(default_factory=dict)
    readouts: list[Readout] = field(default_factory=list)

    def value(self, model: str, metric: str) -> Value | None:
        """A metric of a model; None where it was not measured."""
        return summarise(self.models.get(model, []), metric)


def side(metrics: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Of what `evaluate.json` holds, one model's metrics and intervals."""
    return {"values": metrics[model], "intervals": metrics.get("intervals", {}).get(model, {})}


def summarise(runs: Sequence[Mapping[str, Any]], metric: str) -> Value | None:
    """One metric over the seeds."""
    group, name = metric.split(".")
    values = [run["values"][group][name] for run in runs if name in run["values"].get(group, {})]
    if not values:
        return None
    ends = [run["intervals"][group][name] for run in runs if name in run["intervals"].get(group, {})]
    interval = (statistics.mean(e["low"] for e in ends), statistics.mean(e["high"] for e in ends)) if ends else None
    found = spread_over_seeds(values)
    return Value(found.mean, found.deviation if found.runs > 1 else None, interval)


def readouts_of(metrics: Mapping[str, Any]) -> list[Readout]:
    """Every read-out of one evaluation."""
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
    """What was asked for; where something was not measured there is no line about it."""
    return [*_against_readouts(claim), *_against_control(claim), *_of_true_annotations(claim)]


def _against_readouts(claim: Claim) -> Iterable[Target]:
    """Ten points above the best that the base gives without training, at the same knowledge of the region."""
    for kind, ours, names in (
        ("boxes", "box", [r for r in claim.readouts if r.name not in NEED_MASKS]),
        ("masks", "mask", [r for r in claim.readouts if r.name in NEED_MASKS]),
    ):
        own = claim.value(MULTI_GRAIN, f"region.{ours}_top1")
        if own is not None and names:
            best = max(names, key=lambda readout: readout.base)
            said = (
                f"regions by {kind}: multi-grain above the best read-out of the base ({best.name}, {best.base:.3f}) "
                f"by 10 points"
            )
            yield Target(said, own.mean - best.base, 0.10)


def _against_control(claim: Claim) -> Iterable[Target]:
    for metric, said in (
        ("retrieval.i2t_r1", "image to text R@1"),
        ("retrieval.t2i_r1", "text to image R@1"),
        ("classification.top1", "zero-shot top-1"),
    ):
        own, control = claim.value(MULTI_GRAIN, metric), claim.value(CONTROL, metric)
        if own is not None and control is not None:
            yield Target(f"{said}: multi-grain at most 1 point below the control", own.mean - control.mean, -0.01)


def _of_true_annotations(claim: Claim) -> Iterable[Target]:
    for metric, said, least in (
        ("region.mask_top1", "regions by masks, top-1", 0.55),
        ("region.mask_top1_heldout", "the same, held-out classes", 0.45),
        ("semantic.miou", "mIoU", 0.24),
        ("semantic.miou_refined", "mIoU, refined (PAMR)", 0.24),
        ("panoptic.pq_true_masks", "PQ with true masks", 0.55),
    ):
        own = claim.value(TRUE, metric)
        if own is not None:
            yield Target(f"true annotations: {said}", own.mean, least)
