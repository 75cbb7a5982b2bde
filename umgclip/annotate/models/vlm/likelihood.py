"""The score of each box of an answer, from the probabilities of the tokens that spell its name and its coordinates.

As Griffon-G scores its detections (Zhan et al., 2024): the root of the product of the probabilities of the name's
tokens, times the root of that of the coordinates' tokens. A token that spells a piece of both counts in both products.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from umgclip.annotate.models.vlm.boxes import BoxesAnswer, GroundedObject
from umgclip.annotate.models.vlm.positions import Span
from umgclip.annotate.models.vlm.reply import UNKNOWN_SCORE, TokenLog


def box_scores(answer: BoxesAnswer, tokens: Sequence[TokenLog]) -> list[float]:
    """Return the score of each object, 0 to 1; 0.5 where the tokens do not spell the answer, or there are none.

    The tokens may spell more than the answer, such as reasoning before it, and the end of the message.

    Args:
        answer: with the spans of names and coordinates in its text.
        tokens: the bytes and the log-probability of each token of the message.
    """
    unknown = [UNKNOWN_SCORE for _ in answer.objects]
    encoded = answer.text.encode("utf-8", "surrogatepass")
    at = b"".join(token.spelled for token in tokens).rfind(encoded)
    if not tokens or not encoded or at < 0:
        return unknown
    ends = [*accumulate(len(token.spelled) for token in tokens)]

    def log_of(span: Span) -> float:
        """Return the sum of the logarithms of the tokens that spell a span, at most 0."""
        start, end = (at + len(answer.text[:place].encode("utf-8", "surrogatepass")) for place in span)
        first, last = bisect_right(ends, start), bisect_left(ends, end)
        return min(0.0, math.fsum(token.log for token in tokens[first : last + 1] if token.spelled))

    def score_of(one: GroundedObject) -> float:
        if one.box_at is None or (one.label is not None and one.label_at is None):
            return UNKNOWN_SCORE
        label = 0.0 if one.label_at is None else log_of(one.label_at)
        return math.exp((label + log_of(one.box_at)) / 2)

    return [score_of(one) for one in answer.objects]
