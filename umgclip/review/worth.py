"""The worth of a look at an image: how many of its annotations are likely to be wrong or missing, and why.

Each reason is a sum over the image's annotations of how likely each is wrong, so that reasons add up and an image with
many doubtful annotations comes before one with few. Nobody's look is asked for where a person has looked already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from umgclip.data.vocabulary import Vocabulary
from umgclip.data.wording import name_key
from umgclip.records import ImageRecord, Region, Text
from umgclip.review.labels import LabelCounts

_PEOPLE = ("alt", "human")
_LOWEST = 0.5  # doubt in the label with the lowest score of its source; it falls with the square of the rank
_SILENT = 0.5  # doubt that a second source leaves of a label that it gives as well
_UNNAMED = 0.5  # least doubt in a label that no caption of the image names, where captions name things
_MISSING = 0.8  # likelihood that a thing which a caption names is in the image, and no region says so
_NAMELESS_GROUND = 0.3  # likelihood that a person can name a background without a label
_NAMELESS_THING = 0.05  # the same for a proposal, times its score
_RAREST = 2.0  # most that the rarity of a name multiplies a doubt by


@dataclass(frozen=True)
class Reason:
    """One reason to look at an image: a word to count by, how many annotations are likely wrong, and which."""

    reason: str
    value: float
    about: tuple[str, ...]


@dataclass(frozen=True)
class Worth:
    """The value of a look at an image, and its reasons, the largest first."""

    value: float
    reasons: tuple[Reason, ...]


class Judge:
    """Tells what a look at an image is worth, from its record alone.

    Args:
        vocabulary: names that captions are searched for.
        counts: how often regions of the data set carry each name.
    """

    def __init__(self, vocabulary: Vocabulary, counts: LabelCounts) -> None:
        self._vocabulary, self._counts = vocabulary, counts
        self._held_out = {name_key(name) for name in vocabulary.held_out}
        self._stuff = {name_key(name) for name in vocabulary.stuff}

    def worth(self, record: ImageRecord) -> Worth:
        """Return the value of a look at the image; 0 where people said everything that there is."""
        doubts: dict[str, list[tuple[str, float]]] = {}
        for reason, about, value in self._doubts(record):
            if value > 0:
                doubts.setdefault(reason, []).append((about, value))
        reasons = [
            Reason(reason, round(sum(value for _, value in each), 4), tuple(dict.fromkeys(about for about, _ in each)))
            for reason, each in doubts.items()
        ]
        reasons.sort(key=lambda reason: (-reason.value, reason.reason))
        return Worth(round(math.fsum(reason.value for reason in reasons), 4), tuple(reasons))

    def _doubts(self, record: ImageRecord) -> Iterator[tuple[str, str, float]]:
        """Yield a reason, what it is about, and how likely that is wrong, for each doubtful annotation."""
        captions = [text for text in record.captions or [] if text.source in _PEOPLE]
        named = {name_key(name): name for text in captions for name in self._vocabulary.find(text.text)}
        regions = [region for region in record.regions or [] if not _is_human(region.tags)]
        for region in regions:
            yield from self._about_region(region, named)
        written = {name_key(tag.text) for region in record.regions or [] for tag in region.tags or []}
        if not _is_reviewed(record):
            for key, name in named.items():
                if key not in written | self._held_out:
                    yield "named_without_region", name, _MISSING * self._rarity(name)
        for text in record.captions or []:
            if text.source not in _PEOPLE and text.filter_score is not None:
                yield "filter_score", text.text, 1 - text.filter_score

    def _about_region(self, region: Region, named: dict[str, str]) -> Iterator[tuple[str, str, float]]:
        if not region.tags:
            yield "region_without_label", "", _NAMELESS_GROUND if region.is_stuff else _NAMELESS_THING * region.score
            return
        tag = region.tags[0]
        doubt = self._doubt(tag, is_stuff=region.is_stuff) * _SILENT ** len(tag.agreed_by or [])
        rarity = self._rarity(tag.text)
        speaks = {key for key in named if (key in self._stuff) == region.is_stuff}
        others = [other for other in (region.tags or [])[1:] if name_key(other.text) != name_key(tag.text)]
        if (speaks and name_key(tag.text) not in named) or any(other.source != tag.source for other in others):
            yield "sources_disagree", tag.text, max(doubt, _UNNAMED) * rarity
            return
        margin = min((1 - other.score / tag.score for other in others if tag.score), default=1.0)
        close = _LOWEST * (1 - max(margin, 0.0))  # the same label before and behind another one
        yield ("low_margin" if close > doubt else "low_score"), tag.text, max(close, doubt)
        yield "rare", tag.text, max(close, doubt) * (rarity - 1)

    def _doubt(self, tag: Text, *, is_stuff: bool) -> float:
        """Return how likely a label is wrong: by its score, and by its rank among the scores of its source."""
        below = self._counts.share_below(tag.score, tag.source, is_stuff=is_stuff)
        return 1 - tag.score if below is None else min(1 - tag.score, _LOWEST * (1 - below) ** 2)

    def _rarity(self, name: str) -> float:
        """Return 1 for usual names, and up to 2 for the rarest."""
        ratio = self._counts.usual / max(self._counts.of(name), 1)
        return float(min(_RAREST, 1 + max(0.0, math.log10(ratio)))) if ratio > 0 else 1.0


def _is_human(tags: Sequence[Text] | None) -> bool:
    return tags is not None and len(tags) > 0 and tags[0].source == "human"


def _is_reviewed(record: ImageRecord) -> bool:
    return any(_is_human(region.tags) for region in record.regions or [])
