"""The choice of a sample's texts for a step: captions short and long, texts of regions, wrong texts of regions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from umgclip.data.wording import name_key
from umgclip.model.clip.prompts import with_article
from umgclip.params import TrainParams
from umgclip.records import Region, Text

NO_TEXT = -1
"""The place of a text that there is none of."""

MOST_NEGATIVES = 10
"""Most wrong texts of a region in a step (FineHARD has ten); of more, as many are drawn at random."""

_GIVEN = ("alt", "human")


@dataclass(frozen=True)
class TextChoice:
    """The settings by which texts are chosen.

    `of_region`: a region's first text, or a random one each time. `most_negatives`: wrong texts of a region; 0: none
    are read. `long_words`: captions of as many words are long and apart from the others; None: none are read.
    """

    written_caption_share: float
    of_region: Literal["first", "random"] = "first"
    most_negatives: int = 0
    long_words: int | None = None


def text_choice(params: TrainParams) -> TextChoice:
    """Return which texts the section `train` asks for; none of those that only a term of weight 0 would look at."""
    weights = params.weights
    return TextChoice(
        written_caption_share=params.written_caption_share,
        of_region=params.text_of_region,
        most_negatives=MOST_NEGATIVES if weights.hard_negatives or weights.cmr else 0,
        long_words=params.long_caption_words if weights.long_text else None,
    )


@dataclass
class Texts:
    """The distinct strings of a batch and their places."""

    place: dict[str, int] = field(default_factory=dict)

    def add(self, text: str) -> int:
        """Return the place of a text."""
        return self.place.setdefault(text, len(self.place))


def region_text(region: Region, choice: TextChoice, rng: np.random.Generator, texts: Texts) -> int:
    """Choose a caption or else a tag of a region, or any of both; return -1 if it has none."""
    pool = _right(region)
    if not pool:
        return NO_TEXT
    place = int(rng.integers(len(pool))) if choice.of_region == "random" and len(pool) > 1 else 0
    return texts.add(pool[place])


def _right(region: Region) -> list[str]:
    captions = [text.text for text in region.captions or []]
    return captions + [with_article(tag.text) for tag in region.tags or []]


def negatives(region: Region, choice: TextChoice, rng: np.random.Generator, texts: Texts) -> list[int]:
    """Choose wrong texts of a region: distinct ones, in their order; a text that is right as well is none.

    A region without a right text has none either, for there is nothing to tell them from.
    """
    if not choice.most_negatives or not region.negatives:
        return []
    right = {name_key(text) for text in (*_right(region), *(tag.text for tag in region.tags or []))}
    wrong = {name_key(text.text): text.text for text in reversed(region.negatives) if text.text.strip()}
    pool = [text for key, text in reversed(wrong.items()) if key not in right] if right else []
    if len(pool) > choice.most_negatives:
        pool = [pool[i] for i in sorted(rng.permutation(len(pool))[: choice.most_negatives])]
    return [texts.add(text) for text in pool]


def captions(given: list[Text], choice: TextChoice, rng: np.random.Generator, texts: Texts) -> tuple[int, int]:
    """Choose a caption and a long one; -1 where the image has none.

    If long ones are read, the caption is a short one, of an image that has any.
    """
    if choice.long_words is None:
        return _caption(given, choice, rng, texts), NO_TEXT
    long = [text for text in given if len(text.text.split()) >= choice.long_words]
    short = [text for text in given if text.text.strip() and len(text.text.split()) < choice.long_words]
    caption = _caption(short or long, choice, rng, texts)
    return caption, texts.add(long[int(rng.integers(len(long)))].text) if long else NO_TEXT


def _caption(given: list[Text], choice: TextChoice, rng: np.random.Generator, texts: Texts) -> int:
    """Choose the alt text, or at times a caption by the annotator."""
    alt = [text.text for text in given if text.source in _GIVEN]
    written = [text.text for text in given if text.source not in _GIVEN]
    pool = written if written and (not alt or rng.random() < choice.written_caption_share) else alt
    chosen = pool[int(rng.integers(len(pool)))] if pool else ""
    return texts.add(chosen) if chosen.strip() else NO_TEXT
