"""Rejected annotations and failed roles, with the reason of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from umgclip.records import Text


@dataclass(frozen=True)
class Failure:
    """The reason why a role has no answer for an image: `reason` is a word to count by, `detail` what happened."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Rejected:
    """A region or a text that a rule refused.

    Attributes:
        role: the role that gave it.
        reason: a word to count by.
        text: the rejected text; None: the region itself is rejected.
        box_xyxy: box of the region in pixels; None: the text describes the whole image.
        region_id: id of the region, if the region is written.
        score: score of the rejected region.
        source: model that found the rejected region.
        detail: what the rule measured.
    """

    role: str
    reason: str
    text: Text | None = None
    box_xyxy: tuple[float, float, float, float] | None = None
    region_id: str | None = None
    score: float | None = None
    source: str | None = None
    detail: str = ""

    def row(self, key: str, shard: str) -> dict[str, Any]:
        """Return this as a row of `io.tables.REJECTED`."""
        x0, y0, x1, y1 = self.box_xyxy or (None,) * 4
        return {
            "key": key, "shard": shard, "region_id": self.region_id, "stage": "annotate", "role": self.role,
            "reason": self.reason, "text": self.text.text if self.text else None,
            "score": self.text.score if self.text else self.score,
            "source": self.text.source if self.text else self.source,
            "x0": x0, "y0": y0, "x1": x1, "y1": y1, "detail": self.detail,
        }  # fmt: skip

    def of_region(self, region_id: str) -> Rejected:
        """Return a copy with the id under which its region is written."""
        return replace(self, region_id=region_id)


REASONS = ("policy_face", "policy_nsfw")  # of samples in the quarantine that a policy refused


def refusal(findings: Sequence[Rejected]) -> Failure:
    """Return why a policy refuses an image: the kind of finding, the count, the best score and its model."""
    best = max(findings, key=lambda one: one.score or 0.0)
    return Failure(best.reason, f"{len(findings)} found, the best with a score of {best.score} by {best.source}")


def not_refused(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of quarantined samples that no policy refused, by reason."""
    return {reason: count for reason, count in reasons.items() if count and reason not in REASONS}


def refused(reasons: Mapping[str, int]) -> int:
    """Return how many of the quarantined samples policies refused, from the counts by reason."""
    return sum(reasons.get(reason, 0) for reason in REASONS)
