"""The annotator: the roles and the rules, applied to one batch of images after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from umgclip.annotate.cache.cache import AnswerCache
from umgclip.annotate.draft import Annotated, Draft, finish, with_own_ids
from umgclip.annotate.models.build import Parts, assemble
from umgclip.annotate.negatives import add_negatives
from umgclip.annotate.neighbours import Neighbours
from umgclip.annotate.proposal import Pixels, Proposal, region_crop
from umgclip.annotate.rejected import Failure, Rejected, refusal
from umgclip.annotate.roles import Partly
from umgclip.annotate.rules.apply import RuleSet
from umgclip.data.stream import Sample
from umgclip.data.vocabulary import Vocabulary
from umgclip.data.wording import name_key
from umgclip.params import AnnotateParams
from umgclip.records import ImageRecord, Text

__all__ = ["Annotated", "Annotator", "build_annotator"]

_T = TypeVar("_T")
_REGION_CONTEXT = 1.2  # size of a region's crop for the filter, times its box


@dataclass(frozen=True)
class Annotator:
    """The roles and the rules of an annotator.

    Annotations of the source are never changed, except that held-out names are removed from regions.
    """

    parts: Parts
    rules: RuleSet

    def __call__(self, samples: Sequence[Sample]) -> list[Annotated]:
        """Annotate a batch: annotations of the source stay, those of the annotator come after them.

        Images that a policy refuses go through no other role.
        """
        drafts = [Draft(_without_held_out(with_own_ids(sample.record), self.rules.held_out)) for sample in samples]
        self._ask_policies(drafts, [sample.pixels for sample in samples])
        allowed = [row for row, draft in enumerate(drafts) if "policy" not in draft.failures]
        annotated = iter(self._annotated([samples[row] for row in allowed], [drafts[row] for row in allowed]))
        nothing = np.zeros(0, np.float16)
        return [
            Annotated(draft.record, nothing, failures=draft.failures) if "policy" in draft.failures else next(annotated)
            for draft in drafts
        ]

    def _ask_policies(self, drafts: list[Draft], images: Sequence[Pixels]) -> None:
        for policy in self.parts.policies:
            for draft, answer in zip(drafts, policy.judge_images(images), strict=True):
                findings = _answer(draft, "policy", answer, [])
                if findings and policy.name in self.parts.refusing:
                    draft.failures["policy"] = refusal(findings)
                for finding in findings:
                    draft.refuse(finding)

    def _annotated(self, samples: Sequence[Sample], drafts: list[Draft]) -> list[Annotated]:
        """Call all roles for the images that policies allow, and return the finished samples."""
        if not samples:
            return []
        images = [sample.pixels for sample in samples]
        alts = [_alt(sample.record) for sample in samples]
        self._find_regions(drafts, images, alts)
        self._caption_regions(drafts, images)
        features = self._embed(drafts, images)
        self._tag_images(drafts, images, alts)
        self._caption_images(drafts, images)
        annotated = [
            Annotated(draft.record, feature, failures=draft.failures)
            if "embedder" in draft.failures
            else finish(draft, feature)
            for draft, feature in zip(drafts, features, strict=True)
        ]
        if self.rules.params.negatives is None:
            return annotated
        return add_negatives(annotated, images, self.parts.negators, self.rules.negatives)

    def with_neighbours(self, neighbours: Neighbours | None) -> Annotator:
        """Return the annotator with the nearest concepts of each, for the rule `negatives`."""
        return replace(self, rules=replace(self.rules, neighbours=neighbours))

    def with_label_bar(self, least: float) -> Annotator:
        """Return the annotator with the least score of a label that the built-in teacher gives a region."""
        return replace(self, rules=replace(self.rules, label_bar=least))

    def propose(self, samples: Sequence[Sample]) -> list[Annotated]:
        """Return class-agnostic proposals alone: no caption is read, no label is written."""
        images = [sample.pixels for sample in samples]
        drafts = [Draft(sample.record) for sample in samples]
        self._propose(drafts, images, [""] * len(images))
        for draft, image in zip(drafts, images, strict=True):
            draft.proposals = [replace(proposal, tags=(), captions=()) for proposal in draft.proposals]
            self.rules.regions(draft, _size(image))
        nothing = np.zeros(0, np.float16)
        return [finish(draft, nothing) for draft in drafts]

    def _propose(self, drafts: list[Draft], images: Sequence[Pixels], alts: Sequence[str]) -> None:
        for proposer in self.parts.proposers:
            for draft, proposals in zip(drafts, proposer.propose_images(images, alts), strict=True):
                draft.add(_answer(draft, "proposer", proposals, []))

    def _find_regions(self, drafts: list[Draft], images: Sequence[Pixels], alts: Sequence[str]) -> None:
        """Find regions, then their labels, then their masks, so that no mask is drawn for a refused region."""
        self._propose(drafts, images, alts)
        if not self.parts.keeps_given_labels:
            for draft in drafts:
                draft.proposals = [replace(proposal, tags=()) for proposal in draft.proposals]
        for tagger in self.parts.region_taggers:
            tagged = tagger.tag_regions(images, alts, [draft.proposals for draft in drafts])
            for draft, proposals in zip(drafts, tagged, strict=True):
                draft.proposals = _answer(draft, "region_tagger", proposals, draft.proposals)
        for draft, image in zip(drafts, images, strict=True):
            self.rules.region_tags(draft)
            self.rules.regions(draft, _size(image))
        for masker in self.parts.maskers:
            drawn = masker.refine_images(images, [draft.proposals for draft in drafts])
            for draft, proposals in zip(drafts, drawn, strict=True):
                draft.proposals = _answer(draft, "masker", proposals, draft.proposals)

    def _embed(self, drafts: list[Draft], images: Sequence[Pixels]) -> list[np.ndarray]:
        """Return the base's own embeddings of the images, (d,) each; those of the regions go to the proposals.

        Regions that came with the images get one too: training distils all regions alike.
        """
        embedder = self.parts.embedder
        features = [
            _answer(draft, "embedder", feature, np.zeros(0, np.float32))
            for draft, feature in zip(drafts, embedder.embed_images(images), strict=True)
        ]
        every = [[*draft.proposals, *draft.given(_size(image))] for draft, image in zip(drafts, images, strict=True)]
        for draft, asked, answer in zip(drafts, every, embedder.embed_regions(images, every), strict=True):
            proposals = _answer(draft, "embedder", answer, asked)
            count = len(draft.proposals)
            draft.proposals, draft.given_embeddings = proposals[:count], [p.embedding for p in proposals[count:]]
        return features

    def _caption_regions(self, drafts: list[Draft], images: Sequence[Pixels]) -> None:
        captions: list[list[list[Text]]] = [[list(p.captions) for p in draft.proposals] for draft in drafts]
        for captioner in self.parts.region_captioners:
            answers = captioner.caption_regions(images, [draft.proposals for draft in drafts])
            for draft, regions, answer in zip(drafts, captions, answers, strict=True):
                nothing: list[list[Text]] = [[] for _ in regions]
                for texts, more in zip(regions, _answer(draft, "region_captioner", answer, nothing), strict=True):
                    texts.extend(more)
        for draft, regions in zip(drafts, captions, strict=True):
            draft.proposals = [
                replace(proposal, captions=tuple(self.rules.texts(draft, "region_captioner", texts, proposal)))
                for proposal, texts in zip(draft.proposals, regions, strict=True)
            ]
        if self.rules.params.region_caption_threshold is not None:
            self._filter(drafts, images, self._region_captions(drafts), "region_captioner")

    @staticmethod
    def _region_captions(drafts: list[Draft]) -> list[tuple[int, Proposal | None, Text]]:
        return [(row, p, text) for row, draft in enumerate(drafts) for p in draft.proposals for text in p.captions]

    def _tag_images(self, drafts: list[Draft], images: Sequence[Pixels], alts: Sequence[str]) -> None:
        if not self.parts.taggers:
            for draft in drafts:
                draft.tags = None
            return
        tags: list[list[Text]] = [[] for _ in drafts]
        for tagger in self.parts.taggers:
            for draft, texts, answer in zip(drafts, tags, tagger.tag_images(images, alts), strict=True):
                texts.extend(_answer(draft, "tagger", answer, []))
        for draft, texts in zip(drafts, tags, strict=True):
            self.rules.image_tags(draft, texts)

    def _caption_images(self, drafts: list[Draft], images: Sequence[Pixels]) -> None:
        if not self.parts.captioners:
            for draft in drafts:
                draft.captions = None
            return
        captions: list[list[Text]] = [[] for _ in drafts]
        for captioner in self.parts.captioners:
            answers = captioner.caption_images(images, [draft.proposals for draft in drafts])
            for draft, texts, answer in zip(drafts, captions, answers, strict=True):
                texts.extend(_answer(draft, "captioner", answer, []))
        for draft, texts in zip(drafts, captions, strict=True):
            draft.captions = self.rules.texts(draft, "captioner", texts)
        pairs = [(row, None, text) for row, draft in enumerate(drafts) for text in draft.captions or []]
        self._filter(drafts, images, pairs, "captioner")

    def _filter(
        self, drafts: list[Draft], images: Sequence[Pixels],
        pairs: Sequence[tuple[int, Proposal | None, Text]], role: str,
    ) -> None:  # fmt: skip
        """Remove captions whose score with their image or region is too low, and those that the filter fails on."""
        if self.parts.filter is None or not pairs:
            return
        looked_at = [images[row] if p is None else region_crop(images[row], p, _REGION_CONTEXT) for row, p, _ in pairs]
        scores = self.parts.filter.score(looked_at, [text.text for _, _, text in pairs])
        regions: dict[tuple[int, int | None], Proposal | None] = {}
        scored: dict[tuple[int, int | None], list[tuple[Text, float]]] = {}
        for (row, proposal, text), score in zip(pairs, scores, strict=True):
            key = row, None if proposal is None else proposal.index
            regions[key] = proposal
            texts = scored.setdefault(key, [])
            if isinstance(score, Failure):
                drafts[row].failures["filter"] = score
                drafts[row].refuse(Rejected(role, "filter_failed", text, detail=score.detail), proposal)
            else:
                texts.append((text, score))
        passed = {key: self.rules.scored(drafts[key[0]], role, texts, regions[key]) for key, texts in scored.items()}
        for row, draft in enumerate(drafts):
            if (row, None) in passed:
                draft.captions = passed[row, None]
            draft.proposals = [
                replace(p, captions=tuple(passed[row, p.index])) if (row, p.index) in passed else p
                for p in draft.proposals
            ]


def build_annotator(
    params: AnnotateParams, base: Path, vocabulary: Vocabulary, cache: AnswerCache | None = None,
    loads: Collection[str] | None = None,
) -> Annotator:  # fmt: skip
    """Build the annotator that the params describe; its models are loaded when they are first needed.

    Args:
        params: the section `annotate`.
        base: folder with the weights of the base, which is the built-in `clip_teacher` and the embedder.
        vocabulary: the concepts of the captions and, if there is one, of `rules.vocabulary`.
        cache: the cache that answers for the models; None: nothing is stored.
        loads: models that may be loaded here; None: all.

    Raises:
        InputError: the vocabulary file cannot be read as one.
    """
    return Annotator(*assemble(params, base, vocabulary, cache or AnswerCache(), loads))


def _answer(draft: Draft, role: str, answer: _T | Failure, otherwise: _T) -> _T:
    """Return a role's answer, or `otherwise` after a failure; record failures and refused parts in the draft."""
    if isinstance(answer, Failure):
        draft.failures[role] = answer
        return otherwise
    if isinstance(answer, Partly):
        for one in answer.refused:
            draft.refuse(one)
    return answer


def _size(pixels: Pixels) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]


def _alt(record: ImageRecord) -> str:
    return record.captions[0].text if record.captions else ""


def _without_held_out(record: ImageRecord, held_out: frozenset[str]) -> ImageRecord:
    """Return the record without the tags, captions and negatives of regions that came with a held-out name."""
    regions = [
        region.model_copy(update={"tags": [], "captions": [], "negatives": None})
        if any(name_key(tag.text) in held_out for tag in region.tags or [])
        else region
        for region in record.regions or []
    ]
    return record if regions == (record.regions or []) else record.model_copy(update={"regions": regions})
