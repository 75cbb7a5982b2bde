"""A sample in progress, and the finished sample: its record, the base's embeddings, and what was refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.records import ImageRecord, Region, Text


@dataclass(frozen=True)
class Annotated:
    """The annotations of one finished sample.

    Attributes:
        record: the annotations of the source and those that the roles added.
        embeddings: (1 + regions, d) float16: the base's embedding of the image, then of its regions in order.
        rejected: what rules refused, in the order of refusal.
        failures: roles without an answer, with the reason; the record then lacks their part.
    """

    record: ImageRecord
    embeddings: np.ndarray
    rejected: tuple[Rejected, ...] = ()
    failures: dict[str, Failure] = field(default_factory=dict)


@dataclass
class Draft:
    """One image on its way through the roles. `captions` and `tags` are None where no role gives them.

    `given_embeddings` are those of the regions that came with the image, in order; empty until they are computed.
    """

    record: ImageRecord
    proposals: list[Proposal] = field(default_factory=list)
    captions: list[Text] | None = field(default_factory=list)
    tags: list[Text] | None = field(default_factory=list)
    rejected: list[tuple[Rejected, int | None]] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    given_embeddings: list[np.ndarray | None] = field(default_factory=list)
    _count: int = 0

    def add(self, proposals: Iterable[Proposal]) -> None:
        """Append proposals, numbered in the order in which they come."""
        for proposal in proposals:
            self.proposals.append(replace(proposal, index=self._count))
            self._count += 1

    def given(self, image_hw: tuple[int, int]) -> list[Proposal]:
        """Return the regions that came with the image as proposals, numbered after all others."""
        return [
            Proposal.of_region(region, image_hw, self._count + number)
            for number, region in enumerate(self.record.regions or [])
        ]

    def refuse(self, rejected: Rejected, region: Proposal | None = None) -> None:
        """Record what a rule refused; `region` is the region that it belongs to, None: the whole image."""
        box = region.box_xyxy if region is not None and not region.is_empty() else None
        if rejected.box_xyxy is None and box is not None:
            rejected = replace(rejected, box_xyxy=box)
        self.rejected.append((rejected, None if region is None else region.index))


def finish(draft: Draft, feature: np.ndarray) -> Annotated:
    """Return the sample as it is stored, without regions that have no pixel.

    Args:
        draft: the image after all roles.
        feature: the base's embedding of the image, (d,).
    """
    record = draft.record
    proposals = [proposal for proposal in draft.proposals if not proposal.is_empty()]
    given = record.regions or []
    ids = _free_ids({region.id for region in given})
    named: dict[int | None, str] = {proposal.index: next(ids) for proposal in proposals}
    regions = [
        Region(
            id=named[proposal.index],
            box_xyxy=proposal.box_xyxy,
            mask=proposal.encoded(),
            is_stuff=proposal.is_stuff,
            score=proposal.score,
            captions=list(proposal.captions),
            tags=list(proposal.tags),
            source=proposal.source,
            mask_source=proposal.mask_source,
        )
        for proposal in proposals
    ]
    update = {
        "captions": _and(record.captions, draft.captions),
        "tags": _and(record.tags, draft.tags if draft.tags is None else _others(draft.tags, record.tags or [])),
        "regions": [*given, *regions],
    }
    embeddings = np.full((1 + len(given) + len(regions), len(feature)), np.nan, np.float16)
    embeddings[0] = feature
    of_given = draft.given_embeddings or [None] * len(given)
    for row, embedding in enumerate([*of_given, *(proposal.embedding for proposal in proposals)], start=1):
        if embedding is not None:
            embeddings[row] = embedding
    rejected = tuple(one.of_region(named[index]) if index in named else one for one, index in draft.rejected)
    return Annotated(record.model_copy(update=update), embeddings, rejected, draft.failures)


def _and(given: list[Text] | None, added: list[Text] | None) -> list[Text] | None:
    """Return the texts of the source, then the added ones; None where there is no list of either."""
    return given if added is None else [*(given or []), *added]


def _others(tags: list[Text], given: list[Text]) -> list[Text]:
    """Return the tags that did not come with the image."""
    known = {tag.text for tag in given}
    return [tag for tag in tags if tag.text not in known]


def with_own_ids(record: ImageRecord) -> ImageRecord:
    """Return the record with unique region ids: of regions with the same id, all but the first get another."""
    given = record.regions or []
    ids = [region.id for region in given]
    if len(set(ids)) == len(ids):
        return record
    free, seen, regions = _free_ids(set(ids)), set[str](), []
    for region in given:
        regions.append(region if region.id not in seen else region.model_copy(update={"id": next(free)}))
        seen.add(region.id)
    return record.model_copy(update={"regions": regions})


def _free_ids(taken: set[str]) -> Iterator[str]:
    return (name for name in map(str, itertools.count()) if name not in taken)
