"""The roles of an annotator. Every back end fills some of them; the engine knows nothing else.

A policy may refuse an image. A proposer finds where something is, a masker draws it, a region tagger and a region
captioner say what it is, a tagger and a captioner speak of the whole image, a filter says how well a text fits its
image, an embedder gives the base's own view of images and regions. All work on batches; what one image makes fail is a
`Failure` in its place, so that the others of the batch go on.
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
    """An answer of which some parts are no use, such as one bad box: `refused` says which; they are counted."""

    def __init__(self, parts: Iterable[T], refused: Iterable[Rejected]) -> None:
        super().__init__(parts)
        self.refused = tuple(refused)


@runtime_checkable
class Policy(Protocol):
    """Looks at images before all others; its `action` says whether an image with a finding goes or stays."""

    name: str

    def judge_images(self, images: Sequence[Pixels]) -> Sequence[list[Rejected] | Failure]:
        """What was found per image; nothing: the image stays."""
        ...


@runtime_checkable
class Proposer(Protocol):
    """Finds regions."""

    name: str

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> Sequence[list[Proposal] | Failure]:
        """Per image: things first, in falling score. Without captions nothing is looked for by name."""
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
    """Says what each region is, knowing the image's caption."""

    name: str

    def tag_regions(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[Proposal] | Failure]:
        """Return the proposals worth keeping per image, in any order, labelled where the tagger is sure."""
        ...


@runtime_checkable
class RegionCaptioner(Protocol):
    """Describes regions in a phrase."""

    name: str

    def caption_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[list[Text]] | Failure]:
        """Captions per region; none where nothing is known of it."""
        ...


@runtime_checkable
class Tagger(Protocol):
    """Tags whole images."""

    name: str

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> Sequence[list[Text] | Failure]:
        """Tags per image in falling score."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Describes whole images."""

    name: str

    def caption_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[Text] | Failure]:
        """Captions per image, from its pixels or from what was found in it."""
        ...


@runtime_checkable
class Filter(Protocol):
    """Scores texts against their image."""

    name: str

    def score(self, images: Sequence[Pixels], texts: Sequence[str]) -> Sequence[float | Failure]:
        """One score 0 to 1 per pair."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """The base's own embeddings, which training distils."""

    def embed_images(self, images: Sequence[Pixels]) -> Float[np.ndarray, "n d"] | Sequence[np.ndarray | Failure]:
        """Of whole images, a row (d,) each."""
        ...

    def embed_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> Sequence[list[Proposal] | Failure]:
        """Return each image's proposals in their order, all with an embedding unless they are empty."""
        ...
