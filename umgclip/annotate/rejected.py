"""What was said and is not written, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from umgclip.records import Text


@dataclass(frozen=True)
class Failure:
    """Why a role has no answer for an image: `reason` is a word to count by, `detail` what happened."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Rejected:
    """A region or a text that a rule refused.

    Attributes:
        role: the role that said it.
        reason: a word to count by.
        text: what was said; None: the rejected is the region itself.
        box_xyxy: of the region, in pixels; None: it was said of the whole image.
        region_id: of the region where that is written.
        detail: what the rule saw.
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
        """A row of `io.tables.REJECTED`."""
        x0, y0, x1, y1 = self.box_xyxy or (None,) * 4
        return {
            "key": key, "shard": shard, "region_id": self.region_id, "stage": "annotate", "role": self.role,
            "reason": self.reason, "text": self.text.text if self.text else None,
            "score": self.text.score if self.text else self.score,
            "source": self.text.source if self.text else self.source,
            "x0": x0, "y0": y0, "x1": x1, "y1": y1, "detail": self.detail,
        }  # fmt: skip

    def of_region(self, region_id: str) -> Rejected:
        """The same, with the id under which its region is written."""
        return replace(self, region_id=region_id)


REASONS = ("policy_face", "policy_nsfw")  # in the quarantine


def refusal(found: Sequence[Rejected]) -> Failure:
    """Why the image goes: the kind of finding, how many, the best score, and who found it."""
    best = max(found, key=lambda one: one.score or 0.0)
    return Failure(best.reason, f"{len(found)} found, the best with a score of {best.score} by {best.source}")


def not_refused(reasons: Mapping[str, int]) -> dict[str, int]:
    """Samples that went to the quarantine for another reason than a policy's, by reason."""
    return {reason: count for reason, count in reasons.items() if count and reason not in REASONS}


def refused(reasons: Mapping[str, int]) -> int:
    """Samples that policies refused, of all that went to the quarantine, by reason."""
    return sum(reasons.get(reason, 0) for reason in REASONS)
