"""One annotator put together from its roles, and what it does to a batch of images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umgclip.annotate.clip_teacher import ClipTeacher
from umgclip.annotate.grabcut import GrabCut
from umgclip.annotate.roles import Captioner, Filter, Masker, Proposal, Proposer, RegionCaptioner, RegionTagger, Tagger
from umgclip.annotate.segment_tree import SegmentTree
from umgclip.data.concepts import Vocabulary
from umgclip.data.stream import Sample
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import sha256_file
from umgclip.model import files
from umgclip.model.layout import WEIGHTS
from umgclip.model.tower import DenseClip
from umgclip.params import AnnotateParams
from umgclip.records import ImageRecord, Region, Text


@dataclass(frozen=True)
class Annotated:
    """A record and the teacher's embeddings, (1 + regions, d) float16: the image's, then its regions' in order."""

    record: ImageRecord
    embeddings: np.ndarray


@dataclass(frozen=True)
class Annotator:
    """The roles; any of them can be filled by another back end.

    `held_out` are names that no region may carry, not even one that came with the data.
    """

    proposer: Proposer
    masker: Masker
    region_tagger: RegionTagger
    region_captioner: RegionCaptioner
    tagger: Tagger
    captioner: Captioner
    filter: Filter
    caption_threshold: float
    held_out: frozenset[str] = frozenset()

    def __call__(self, samples: Sequence[Sample]) -> list[Annotated]:
        """Annotate a batch. What came with the images stays; the annotator's own words and regions come after it."""
        images = [sample.pixels for sample in samples]
        alts = [_alt(sample.record) for sample in samples]
        proposals = self.region_tagger.tag_regions(images, alts, [self.proposer.propose(image) for image in images])
        for image, found in zip(images, proposals, strict=True):
            self.masker.refine(image, found)
            for proposal in found:
                proposal.captions = self.region_captioner.caption_region(proposal)
        tags, features = self.tagger.tag_images(images, alts)
        captions = [self.captioner.caption_image(found) for found in proposals]
        captions = self._filtered(images, captions)
        return [
            _annotated(self._without_held_out(sample.record), *said)
            for sample, *said in zip(samples, captions, tags, proposals, features, strict=True)
        ]

    def propose(self, samples: Sequence[Sample]) -> list[Annotated]:
        """Class-agnostic proposals and nothing else: no caption is read, no label written."""
        nothing = np.zeros(0, np.float16)
        return [_annotated(sample.record, [], [], self.proposer.propose(sample.pixels), nothing) for sample in samples]

    def _without_held_out(self, record: ImageRecord) -> ImageRecord:
        """The record; regions that came with a held-out name are places without words."""
        regions = [
            region.model_copy(update={"tags": [], "captions": [], "negatives": None})
            if any(tag.text in self.held_out for tag in region.tags or [])
            else region
            for region in record.regions or []
        ]
        return record if regions == (record.regions or []) else record.model_copy(update={"regions": regions})

    def _filtered(self, images: Sequence[np.ndarray], captions: list[list[Text]]) -> list[list[Text]]:
        """Only captions that the filter finds in their image."""
        pairs = [(row, text) for row, texts in enumerate(captions) for text in texts]
        scores = self.filter.score([images[row] for row, _ in pairs], [text.text for _, text in pairs]) if pairs else []
        kept: list[list[Text]] = [[] for _ in captions]
        for (row, text), score in zip(pairs, scores, strict=True):
            if score >= self.caption_threshold:
                kept[row].append(text)
        return kept


def build_annotator(params: AnnotateParams, base: Path, vocabulary: Vocabulary) -> Annotator:
    """The annotator of the back end `clip_teacher`, with the weights in the folder `base`."""
    clip, _ = files.load(base)
    name = f"clip_teacher/{sha256_file(base / WEIGHTS)[:12]}"
    teacher = ClipTeacher(DenseClip(clip), name, vocabulary, params.label)
    return Annotator(
        proposer=SegmentTree(params.proposer),
        masker=GrabCut(params.masker),
        region_tagger=teacher,
        region_captioner=teacher,
        tagger=teacher,
        captioner=teacher,
        filter=teacher,
        caption_threshold=params.caption_threshold,
        held_out=frozenset(params.held_out),
    )


def _alt(record: ImageRecord) -> str:
    return record.captions[0].text if record.captions else ""


def _annotated(
    record: ImageRecord, captions: list[Text], tags: list[Text], proposals: list[Proposal], feature: np.ndarray
) -> Annotated:
    proposals = [proposal for proposal in proposals if proposal.mask.any()]
    written = record.regions or []
    ids = _free_ids({region.id for region in written})
    regions = [
        Region(
            id=next(ids),
            box_xyxy=proposal.box_xyxy,
            mask=mask_ops.encode(proposal.mask),
            is_stuff=proposal.is_stuff,
            score=proposal.score,
            captions=proposal.captions,
            tags=proposal.tags,
        )
        for proposal in proposals
    ]
    update = {
        "captions": [*(record.captions or []), *captions],
        "tags": [*(record.tags or []), *_others(tags, record.tags or [])],
        "regions": [*written, *regions],
    }
    embeddings = np.full((1 + len(written) + len(regions), len(feature)), np.nan, np.float16)
    embeddings[0] = feature
    for row, proposal in enumerate(proposals, start=1 + len(written)):
        if proposal.embedding is not None:
            embeddings[row] = proposal.embedding
    return Annotated(record.model_copy(update=update), embeddings)


def _others(tags: list[Text], given: list[Text]) -> list[Text]:
    """Tags that did not come with the image."""
    known = {tag.text for tag in given}
    return [tag for tag in tags if tag.text not in known]


def _free_ids(taken: set[str]) -> Iterator[str]:
    return (name for name in map(str, itertools.count()) if name not in taken)
