"""The roles of an annotator, as protocols. Every model fills some of them; the annotator knows nothing else of it.

A policy may refuse an image. A proposer finds regions, a masker draws their masks, a region tagger and a region
captioner describe them, a tagger and a captioner describe the whole image, a filter scores how well a text fits its
image, an embedder gives the base's embeddings of images and regions, a negator writes texts that are wrong for a
region. All work on batches and return one answer an image. Where an image makes a role fail, its answer is a
`Failure`, so that the other images of the batch go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.records import Text

__all__ = [
    "Captioner",
    "Embedder",
    "Failure",
    "Filter",
    "Masker",
    "Negator",
    "Partly",
    "Pixels",
    "Policy",
    "Proposal",
    "Proposer",
    "RegionCaptioner",
    "RegionTagger",
    "Tagger",
]


T = TypeVar("T")


class Partly(list[T]):
    """An answer without its unusable parts, such as one bad box; `refused` lists these parts, which are counted."""

    def __init__(self, parts: Iterable[T], refused: Iterable[Rejected]) -> None:
        super().__init__(parts)
        self.refused = tuple(refused)


@runtime_checkable
class Policy(Protocol):
    """A model that checks images before all other roles; its `action` decides whether a finding refuses the image."""

    name: str

    def judge_images(self, images: Sequence[Pixels]) -> Sequence[list[Rejected] | Failure]:
        """Return the findings per image; no finding: the image stays."""
        ...


@runtime_checkable
class Proposer(Protocol):
    """A model that finds regions in images."""

    name: str

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> Sequence[list[Proposal] | Failure]:
        """Return regions per image, things first in descending score.

        Without captions nothing is looked for by name.
        """
        ...


@runtime_checkable
class Masker(Protocol):
    """A model that draws better masks for given regions."""

    name: str

    def refine_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[Proposal] | Failure]:
        """Return each image's proposals in their order, with new masks where those are better by its own judgement."""
        ...


@runtime_checkable
class RegionTagger(Protocol):
    """A model that names each region, with the help of the image's caption."""

    name: str

    def tag_regions(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[Proposal] | Failure]:
        """Return the proposals worth keeping per image, in any order, labelled where the tagger is sure."""
        ...


@runtime_checkable
class RegionCaptioner(Protocol):
    """A model that describes regions in a phrase."""

    name: str

    def caption_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[list[Text]] | Failure]:
        """Return the captions of each region per image; an empty list where the model has none."""
        ...


@runtime_checkable
class Tagger(Protocol):
    """A model that gives tags of whole images."""

    name: str

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> Sequence[list[Text] | Failure]:
        """Return tags per image in descending score."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """A model that describes whole images in captions."""

    name: str

    def caption_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[Text] | Failure]:
        """Return captions per image, from its pixels or from its regions."""
        ...


@runtime_checkable
class Negator(Protocol):
    """A model that writes texts that look right for a region and are wrong."""

    name: str

    def write_negatives(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[list[Text]] | Failure]:
        """Return the wrong texts of each region per image; every region has a label or a caption."""
        ...


@runtime_checkable
class Filter(Protocol):
    """A model that scores how well texts fit their images."""

    name: str

    def score(self, images: Sequence[Pixels], texts: Sequence[str]) -> Sequence[float | Failure]:
        """Return a score from 0 to 1 for each pair of image and text."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """The base, whose own embeddings training distils."""

    def embed_images(self, images: Sequence[Pixels]) -> Float[np.ndarray, "n d"] | Sequence[np.ndarray | Failure]:
        """Return the embeddings of whole images, a row (d,) each."""
        ...

    def embed_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[Proposal] | Failure]:
        """Return each image's proposals in their order, all with an embedding unless they are empty."""
        ...
