"""Measurements on a sample of training images: scores of labels, of decoys, and of objects that were pasted in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

_NEWTON_STEPS = 25
_RIDGE = 1e-3  # keeps the logistic curve finite where every pasted object was found


@dataclass(frozen=True, eq=False)
class Pasted:
    """Objects that were pasted into images in one way.

    Attributes:
        objects: how many were pasted.
        scores: scores of their labels, where a label lies on the object.
        right: whether the box of such a label is right.
    """

    objects: int
    scores: Float[np.ndarray, "p"]
    right: Bool[np.ndarray, "p"]

    @property
    def share(self) -> float:
        """The share of the objects that get their label, 0 to 1."""
        return len(self.scores) / max(self.objects, 1)


@dataclass(frozen=True, eq=False)
class LabelEvidence:
    """Counts and scores that a precision is estimated from.

    Attributes:
        images: training images in the sample.
        labels: scores of the labels that these images get.
        names: names in their captions that competed with decoys for regions.
        won: scores of the labels that names won against decoys.
        decoys: names that the captions do not hold, and that competed all the same.
        decoys_won: scores of the labels that decoys won, which are wrong for certain.
        pasted: objects that were pasted into the images, in ways from easy to hard to see.
    """

    images: int
    labels: Float[np.ndarray, "l"]
    names: int
    won: Float[np.ndarray, "w"]
    decoys: int
    decoys_won: Float[np.ndarray, "d"]
    pasted: tuple[Pasted, ...]

    @property
    def null_share(self) -> float:
        """The share of names without a region of their own, which win no more labels than decoys do, 0 to 1.

        What decoys leave unlabelled says how much of the unlabelled names is due to such names (Storey and Tibshirani,
        PNAS 2003).
        """
        if not self.names or not self.decoys:
            return 1.0
        idle = 1 - len(self.decoys_won) / self.decoys
        return float(np.clip((1 - len(self.won) / self.names) / max(idle, 1e-6), 0, 1))

    def false_share(self, score: float) -> float:
        """Return the share of labels of at least a score that lie on something else than what they name, 0 to 1.

        Labels that decoys win stand for those that names win without a region of their own (target-decoy competition,
        Elias and Gygi, Nature Methods 2007).
        """
        won = int((self.won >= score).sum())
        if not won or not self.decoys:
            return 1.0
        per_decoy, per_name = (self.decoys_won >= score).sum() / self.decoys, won / self.names
        return float(np.clip(self.null_share * per_decoy / per_name, 0, 1))

    def pasted_labels(self) -> tuple[Float[np.ndarray, "p"], Bool[np.ndarray, "p"], Float[np.ndarray, "p"]]:
        """Return scores, correctness and weights of all labels of pasted objects.

        The ways of pasting are weighted so that together as large a share of the objects gets a label as of the things
        that captions name: where few of these do, real objects are hard to see, and pasted ones have to be.
        """
        natural = len(self.won) / max(self.names, 1) * (1 - self.false_share(0.0))
        easy, hard = self.pasted[0], self.pasted[-1]
        gap = easy.share - hard.share
        easy_part = float(np.clip((natural - hard.share) / gap, 0, 1)) if gap > 0 else 0.5
        parts = (easy_part, 1 - easy_part)
        return (
            np.concatenate([easy.scores, hard.scores]),
            np.concatenate([easy.right, hard.right]),
            np.concatenate([np.full(len(p.scores), part) for p, part in zip((easy, hard), parts, strict=True)]),
        )


@dataclass(frozen=True)
class BoxCurve:
    """The probability that a label on the right thing has the right box: a logistic curve over the score's logarithm.

    The curve is fitted as by Platt (Advances in Large Margin Classifiers, 1999).
    """

    intercept: float
    slope: float

    @classmethod
    def fit(
        cls, scores: Float[np.ndarray, "p"], right: Bool[np.ndarray, "p"], parts: Float[np.ndarray, "p"]
    ) -> BoxCurve:
        """Fit the curve to scores, whether boxes are right, and weights; its slope is never negative."""
        positive, negative = float(parts[right].sum()), float(parts[~right].sum())
        target = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))
        x = np.stack([np.ones(len(scores)), _logarithm(scores)], 1)
        weights = np.zeros(2)
        for _ in range(_NEWTON_STEPS):
            p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
            curvature = (x * (parts * p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(2)
            weights = weights + np.linalg.solve(curvature, x.T @ (parts * (target - p)) - _RIDGE * weights)
        if weights[1] < 0:  # by chance: a higher score is no sign of a worse box
            share = float(np.average(target, weights=parts))
            return cls(float(np.log(share / (1 - share))), 0.0)
        return cls(float(weights[0]), float(weights[1]))

    def probability(self, scores: Float[np.ndarray, "l"]) -> Float[np.ndarray, "l"]:
        """Return the probability for labels of these scores."""
        return 1 / (1 + np.exp(-np.clip(self.intercept + self.slope * _logarithm(scores), -30, 30)))


def _logarithm(scores: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return np.log(np.maximum(scores, 1e-3))
