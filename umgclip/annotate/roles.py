"""The roles of an annotator. Every back end fills some of them; the engine knows nothing else.

A proposer finds where something is, a masker draws it, a region tagger and a region captioner say what it is, a tagger
and a captioner speak of the whole image, a filter says how well a text fits its image. All work on batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from umgclip.geometry import masks as mask_ops
from umgclip.records import Text

Pixels = UInt8[np.ndarray, "_ _ 3"]


@dataclass
class Proposal:
    """A place in an image: mask in pixels, objectness 0 to 1, and what was said of it so far."""

    mask: Bool[np.ndarray, "height width"]
    score: float
    is_stuff: bool = False
    tags: list[Text] = field(default_factory=list)
    captions: list[Text] = field(default_factory=list)
    embedding: Float[np.ndarray, "d"] | None = None

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """The tightest box around the mask, in pixels."""
        return mask_ops.box_of(self.mask)


@runtime_checkable
class Proposer(Protocol):
    """Finds class-agnostic regions."""

    name: str

    def propose(self, pixels: Pixels) -> list[Proposal]:
        """Things first, in falling score."""
        ...


@runtime_checkable
class Masker(Protocol):
    """Draws better masks for given regions."""

    name: str

    def refine(self, pixels: Pixels, proposals: list[Proposal]) -> None:
        """Replace the proposals' masks in place; a mask that gets worse by the masker's own judgement stays."""
        ...


@runtime_checkable
class RegionTagger(Protocol):
    """Says what each region is, knowing the image's caption."""

    name: str

    def tag_regions(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal]]:
        """The proposals worth keeping per image, labelled where the tagger is sure."""
        ...


@runtime_checkable
class RegionCaptioner(Protocol):
    """Describes a labelled region in a phrase."""

    name: str

    def caption_region(self, proposal: Proposal) -> list[Text]:
        """Captions for one region; none when nothing is known of it."""
        ...


@runtime_checkable
class Tagger(Protocol):
    """Tags whole images."""

    name: str

    def tag_images(
        self, images: Sequence[Pixels], captions: Sequence[str]
    ) -> tuple[list[list[Text]], Float[np.ndarray, "n d"]]:
        """Tags per image in falling score, and the images' embeddings."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Describes whole images."""

    name: str

    def caption_image(self, proposals: list[Proposal]) -> list[Text]:
        """Captions for one image, from what was found in it."""
        ...


@runtime_checkable
class Filter(Protocol):
    """Scores texts against their image."""

    name: str

    def score(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[float]:
        """One score 0 to 1 per pair."""
        ...
