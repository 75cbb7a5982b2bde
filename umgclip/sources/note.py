"""Data classes of what an importer reads: image files, and what the source states about them in its own coordinates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from umgclip.data.wording import tidy
from umgclip.records import ImageRecord, PairSide, Region, Text
from umgclip.safe_text import brief, well_formed
from umgclip.sources.values import expected, share


@dataclass(frozen=True)
class Speaker:
    """Names of those who wrote captions and everything else, where the source does not name them itself."""

    captions: str
    others: str


_NUMBERS = re.compile(r"\s*(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?[\s,;]*)+")
LONGEST_TEXT = 100_000  # characters of a caption or a name
BoxForm = Literal["xyxy", "xywh", "cxcywh"]  # cxcywh: centre and size, as YOLO writes them


@dataclass(frozen=True)
class Problem:
    """Something that stays out of the dataset: a reason code to count, details, and `region_id` if it is a region."""

    reason: str
    detail: str
    region_id: str | None = None


@dataclass
class RawRegion:
    """A region in the source's own coordinates, with its texts.

    Attributes:
        id: id in the source; may be empty or repeated until `number_regions` makes it unique.
        box: should be four numbers in the order of `form`, in pixels or, with `shares`, shares of the image; or None.
        shape: its pixels: polygons, a COCO RLE (compressed or not), a boolean array (height, width), or None.
        size_wh: size in px of the picture that its coordinates belong to, if that is not the note's.
        exchanged: the program that wrote the file shows images upright but writes sizes as stored, or vice versa.
        known: the region's record in a dataset of this package, which decides everything except box and mask.
    """

    id: str
    box: Any = None
    form: BoxForm = "xyxy"
    shape: Any = None
    shares: bool = False
    is_stuff: bool = False
    is_crowd: bool = False
    score: float = 1.0
    captions: list[Text] = field(default_factory=list)
    tags: list[Text] = field(default_factory=list)
    negatives: list[Text] = field(default_factory=list)
    size_wh: tuple[int, int] | None = None
    exchanged: bool = False
    known: Region | None = None


@dataclass
class Note:
    """All that a source states about one image; a field is None where the source does not cover it.

    Attributes:
        size_wh: size in pixels that the coordinates belong to, if the source states it.
        single: class of an image that shows one thing.
        dataset: dataset of an image that was exported by this package.
        name: what such an image's file was called in its own source, if that is known.
        negative_tags: tags that were verified to be absent.
        not_exhaustive: classes of which some instances may be missing among the regions.
        pairs: visual-pattern pairs that the image is in.
        record: a complete record of this package.
        unknown: counts of fields that were not understood, by name.
        told: counts of what was read differently than the source may expect, by description, for the summary.
    """

    captions: list[Text] | None = None
    tags: list[Text] | None = None
    regions: list[RawRegion] | None = None
    url: str | None = None
    license: str | None = None
    size_wh: tuple[int, int] | None = None
    single: str | None = None
    dataset: str | None = None
    name: str | None = None
    negative_tags: list[Text] | None = None
    not_exhaustive: list[str] | None = None
    pairs: list[PairSide] | None = None
    record: ImageRecord | None = None
    unknown: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def caption(self, text: str, source: str, score: float = 1.0) -> None:
        """Add a caption unless it is empty or a repeat; only numbers, or more than 100,000 characters, is a problem."""
        if len(text) > LONGEST_TEXT:
            self.problems.append(_too_long(text))
            return
        if only_numbers(text):
            self.problems.append(_no_words(text))
            return
        self.captions = append_text(self.captions or [], text, source, self._sure(text, score))

    def tag(self, text: str, source: str, score: float = 1.0) -> None:
        """Add a tag unless it is empty or a repeat; more than 100,000 characters is a problem."""
        if len(text) > LONGEST_TEXT:
            self.problems.append(_too_long(text))
            return
        self.tags = append_text(self.tags or [], text, source, self._sure(text, score))

    def _sure(self, text: str, score: Any) -> float:  # noqa: ANN401 - what a file held
        """Return a score from 0 to 1; record a problem and return 1.0 if it is not a number."""
        read = share(score)
        if read is None:
            self.problems.append(Problem("bad_score", f"{brief(text)}: {expected('score', 'a number', score)}"))
        return 1.0 if read is None else read

    def negative_tag(self, text: str, source: str) -> None:
        """Add a tag that was verified to be absent from the image."""
        self.negative_tags = append_text(self.negative_tags or [], text, source)

    def truths(self, captions: Iterable[str], source: str) -> None:
        """Add all captions of a benchmark, repeats included: each of them is a query."""
        clean = list(map(tidy, captions))
        self.problems += [_no_words(text) for text in clean if only_numbers(text)]
        self.problems += [_too_long(text) for text in clean if len(text) > LONGEST_TEXT]
        clean = [text for text in clean if len(text) <= LONGEST_TEXT and not only_numbers(text)]
        self.captions = [*(self.captions or []), *(Text(text=text, source=source) for text in clean if text)]

    def region(self, region: RawRegion) -> None:
        """Add a region, and its first tag as a tag of the image."""
        self.regions = [*(self.regions or []), region]
        for tag in region.tags[:1]:
            self.tag(tag.text, tag.source)

    def merge(self, other: Note) -> None:
        """Add everything that another note of the same image states."""
        for text in other.captions or []:
            self.caption(text.text, text.source, text.score)
        for text in other.tags or []:
            self.tag(text.text, text.source, text.score)
        if other.captions is not None and self.captions is None:
            self.captions = []
        if other.tags is not None and self.tags is None:
            self.tags = []
        if other.regions is not None:
            self.regions = [*(self.regions or []), *other.regions]
        self.url, self.license = self.url or other.url, self.license or other.license
        self.size_wh, self.single = self.size_wh or other.size_wh, self.single or other.single
        self.dataset, self.name = self.dataset or other.dataset, self.name or other.name
        self.negative_tags = self.negative_tags or other.negative_tags
        self.not_exhaustive = self.not_exhaustive or other.not_exhaustive
        self.pairs = self.pairs or other.pairs
        self.record = self.record or other.record
        self.unknown.update(other.unknown)
        self.told.update(other.told)
        self.problems.extend(other.problems)


@dataclass
class SourceImage:
    """One image of a source, with its bytes and its note.

    Attributes:
        name: its name in the source, for messages; UTF-8.
        data: its bytes, or the problem if it is unreadable.
        extension: extension of its name, without dot.
        note: the source's statements about it.
    """

    name: str
    data: bytes | Problem = field(repr=False)
    extension: str
    note: Note


def only_numbers(text: str) -> bool:
    """Return whether a text consists of numbers only, as lines of coordinates do."""
    return _NUMBERS.fullmatch(text) is not None


def _too_long(text: str) -> Problem:
    return Problem("bad_text", f"expected at most {LONGEST_TEXT} characters, got {len(text)}: {text[:80]!r}")


def _no_words(text: str) -> Problem:
    return Problem("bad_text", f"expected a caption of words, got numbers alone: {text[:80]!r}")


def append_text(texts: list[Text], text: str, source: str, score: float = 1.0) -> list[Text]:
    """Append a text with whitespace normalised; skip empty texts and repeats from the same source."""
    clean = tidy(text)
    if not clean or any(other.text == clean and other.source == source for other in texts):
        return texts
    return [*texts, Text(text=clean, source=source, score=min(max(score, 0.0), 1.0))]


def shown(name: str) -> str:
    """Return a name as valid UTF-8: other bytes are written in hexadecimal, halves of an emoji as U+FFFD."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return well_formed(name)
