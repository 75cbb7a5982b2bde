"""What the findings of a policy mean for an image: it waits in the quarantine, which is no failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from umgclip.annotate.rejected import Rejected
from umgclip.annotate.roles import Failure

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
