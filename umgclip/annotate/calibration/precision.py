"""The precision of labels by their score, out of the evidence, and the least score at which it is high enough."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from umgclip.annotate.calibration.evidence import BoxCurve, LabelEvidence

LEAST_PASTED = 40  # labels of pasted objects; fewer say too little
_FEWEST = 10  # labels of the sample that a threshold has to leave
_DIGITS = 3
_CURVE = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)  # scores that the report shows


@dataclass(frozen=True)
class Point:
    """The estimate for the labels of at least a score.

    Attributes:
        score: the score.
        labels: labels of the sample that have it.
        precision: estimated share of them with the right label and box.
        error: standard error of that share.
    """

    score: float
    labels: int
    precision: float
    error: float


@dataclass(frozen=True)
class LabelPrecision:
    """An estimate of the labels' precision, and the threshold that follows from it.

    Attributes:
        target: precision that is asked for.
        threshold: least score of a label that is written; 0: all are; None: no score reaches the target.
        images: training images in the sample.
        labels: labels that they get without a threshold.
        pasted: labels of pasted objects behind the estimate.
        at: the estimate for the labels that are written; None: none are.
        curve: the estimate at some scores.
    """

    target: float
    threshold: float | None
    images: int
    labels: int
    pasted: int
    at: Point | None
    curve: tuple[Point, ...]

    @property
    def bar(self) -> float:
        """The least score of a label; above 1, the best score, where no label is written."""
        return math.inf if self.threshold is None else self.threshold

    def report(self) -> dict[str, Any]:
        """Return all numbers for a JSON file."""
        return asdict(self)

    def headline(self) -> dict[str, float]:
        """Return the numbers for `metrics/annotate.json`; a threshold of 1 without a precision: no label is written."""
        numbers: dict[str, float] = {"target": self.target, "threshold": 1.0, "share": 0.0}
        if self.at is not None and self.threshold is not None:
            numbers |= {"threshold": self.threshold, "share": round(self.at.labels / max(self.labels, 1), _DIGITS)}
            numbers["precision"] = round(self.at.precision, _DIGITS)
        return numbers

    def in_words(self) -> str:
        """Return a line for the stage's summary."""
        if self.at is None or self.threshold is None:
            return f"none: no score reaches {self.target:.2f}, so things stay unlabelled; docs/annotators.md"
        estimate = f"{self.at.precision:.2f} ± {self.at.error:.2f}"
        if not self.threshold:
            return f"{estimate}, and {self.target:.2f} is asked for: all are written"
        return f"{estimate} of the {self.at.labels} of {self.labels} that score {self.threshold} or more"


def estimate(evidence: LabelEvidence, target: float) -> LabelPrecision | None:
    """Estimate the precision of labels at each score, and find the least score with the target.

    A label is right if it lies on what it names, which decoys tell, and if its box is right, which pasted objects tell.
    The threshold is the least score at which the estimate less its standard error reaches the target.

    Args:
        evidence: the scores of a sample of training images.
        target: precision that is asked for, 0 to 1.

    Returns:
        The estimate; None: the sample is too small for one.
    """
    scores, right, parts = evidence.pasted_labels()
    count = parts.sum() ** 2 / max((parts**2).sum(), 1e-9)  # as many labels of one weight
    if count < LEAST_PASTED or len(evidence.labels) < _FEWEST:
        return None
    boxes = BoxCurve.fit(scores, right, parts)
    ranked = np.sort(evidence.labels)
    # a step of a thousandth: what differs from machine to machine in the last digits decides nothing
    steps = [0.0, *np.unique(np.ceil(ranked * 10**_DIGITS) / 10**_DIGITS).tolist()]
    points = (_point(evidence, boxes, ranked, step, count) for step in steps)
    enough = (p for p in points if p.labels >= _FEWEST and p.precision - p.error >= target)
    at = next(enough, None)
    return LabelPrecision(
        target=target,
        threshold=None if at is None else round(at.score, _DIGITS),
        images=evidence.images,
        labels=len(ranked),
        pasted=len(scores),
        at=at,
        curve=tuple(_point(evidence, boxes, ranked, score, count) for score in _CURVE if (ranked >= score).any()),
    )


def _point(evidence: LabelEvidence, boxes: BoxCurve, ranked: np.ndarray, score: float, count: float) -> Point:
    above = ranked[ranked >= score]
    if not len(above):
        return Point(score, 0, 0.0, 0.0)
    box = float(boxes.probability(above).mean())
    precision = (1 - evidence.false_share(score)) * box
    # the box's share is known from the pasted objects alone
    error = math.sqrt(max(box * (1 - box), 1 / count) / count)
    return Point(score, len(above), round(precision, 4), round(error, 4))
