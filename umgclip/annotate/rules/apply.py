"""Apply the rules to the answers of the roles about one image; the draft records each refusal with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from umgclip.annotate.draft import Draft
from umgclip.annotate.neighbours import Neighbours
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Rejected
from umgclip.annotate.rules.agreement import agreed, sources
from umgclip.annotate.rules.caption_text import clean, text_fault
from umgclip.annotate.rules.negatives import NegativeRule
from umgclip.annotate.rules.overlap import best_overlap, suppressed
from umgclip.annotate.rules.size import size_fault
from umgclip.annotate.rules.tag_names import TagNames
from umgclip.data.refusals.apology import refuses, says_nothing
from umgclip.data.vocabulary import Vocabulary
from umgclip.data.wording import name_key
from umgclip.params.roles import RulesParams
from umgclip.records import Text

_LONGEST_NAME = 100  # characters of a tag that is not in the vocabulary


@dataclass(frozen=True)
class RuleSet:
    """The rules, with their params and the vocabulary that they check names against.

    Attributes:
        params: the section `annotate.rules`.
        vocabulary: concepts that may be written; held-out ones never as the label of a region.
        names: spellings and synonyms of these concepts.
        caption_threshold: lowest filter score of an image caption that is written.
        held_out: keys (`umgclip.data.wording.name_key`) of names that no region may have.
        english: whether captions are English.
        neighbours: the nearest concepts of each, for the rule `negatives`; None: not computed.
        label_bar: least score of a label that the built-in teacher gives a region that is no background.
    """

    params: RulesParams
    vocabulary: Vocabulary
    names: TagNames
    caption_threshold: float = 0.0
    held_out: frozenset[str] = field(default_factory=frozenset)
    english: bool = True
    neighbours: Neighbours | None = None
    label_bar: float = 0.0

    @cached_property
    def negatives(self) -> NegativeRule:
        """The rule that writes wrong texts of regions."""
        return NegativeRule(self.params, self.vocabulary, self.names, self.held_out, self.english, self.neighbours)

    def regions(self, draft: Draft, image_hw: tuple[int, int]) -> None:
        """Remove regions of a wrong size, those that overlap a region of the source, and duplicates.

        Args:
            draft: the image; its proposals are replaced by those that remain.
            image_hw: height and width of the image in pixels.
        """
        remaining: list[Proposal] = []
        given = np.array([r.box_xyxy for r in draft.record.regions or []], np.float64).reshape(-1, 4)
        limit = self.params.given_iou
        for proposal in draft.proposals:
            if proposal.is_empty():
                draft.refuse(Rejected("proposer", "empty_mask", score=proposal.score, source=proposal.source), proposal)
                continue
            fault, detail = None if proposal.is_stuff else size_fault(proposal.box_xyxy, image_hw, self.params), ""
            if fault is None and limit is not None and len(given):
                overlap = float(best_overlap(np.array([proposal.box_xyxy], np.float64), given)[0])
                fault, detail = ("given", f"IoU {overlap:.3f}") if overlap > limit else (None, "")
            if fault is None:
                remaining.append(proposal)
            else:
                self._refuse_region(draft, proposal, fault, detail)
        draft.proposals = self._without_duplicates(draft, remaining)

    def _without_duplicates(self, draft: Draft, proposals: list[Proposal]) -> list[Proposal]:
        if not proposals or (self.params.nms_iou is None and self.params.containment is None):
            return proposals
        boxes = np.array([p.box_xyxy for p in proposals], np.float64)
        labels = [_label(p) for p in proposals]
        scores = np.array([p.tags[0].score if p.tags else p.score for p in proposals], np.float64)
        reasons = suppressed(boxes, scores, labels, self.params.nms_iou, self.params.containment)
        for row, reason in sorted(reasons.items()):
            self._refuse_region(draft, proposals[row], reason, f"label {_label(proposals[row])}")
        return [p for row, p in enumerate(proposals) if row not in reasons]

    @staticmethod
    def _refuse_region(draft: Draft, proposal: Proposal, reason: str, detail: str) -> None:
        tag = proposal.tags[0] if proposal.tags else None
        rejected = Rejected("proposer", reason, tag, score=proposal.score, source=proposal.source, detail=detail)
        draft.refuse(rejected, proposal)

    def region_tags(self, draft: Draft) -> None:
        """Spell the labels of regions as the vocabulary does; refuse held-out, unknown, low-scored and doubtful labels.

        Doubtful are labels of the built-in teacher below the score at which enough of its labels are right.
        """
        proposals = []
        for proposal in draft.proposals:
            tags = []
            for tag in proposal.tags:
                tag, fault = self._tag(tag, self.params.region_tag_score_min)
                fault = "held_out" if name_key(tag.text) in self.held_out else fault
                is_doubtful = not proposal.is_stuff and _is_teachers(tag) and tag.score < self.label_bar
                if fault is None and is_doubtful:
                    detail = f"{tag.score:.4f} < {self.label_bar}"
                    draft.refuse(Rejected("region_tagger", "precision", tag, detail=detail), proposal)
                elif fault is None:
                    tags.append(tag)
                else:
                    draft.refuse(Rejected("region_tagger", fault, tag), proposal)
            proposals.append(replace(proposal, tags=tuple(sorted(agreed(tags), key=lambda tag: -tag.score))))
        draft.proposals = proposals

    def image_tags(self, draft: Draft, tags: Sequence[Text]) -> None:
        """Give the draft its image tags, each once, in descending score.

        A tag with too low a score or from too few sources is refused.
        """
        accepted = []
        for tag in tags:
            tag, fault = self._tag(tag, self.params.tag_score_min)
            if fault is None:
                accepted.append(tag)
            else:
                draft.refuse(Rejected("tagger", fault, tag))
        merged = sorted(agreed(accepted), key=lambda tag: -tag.score)
        for tag in merged:
            if sources(tag) < self.params.agree_min:
                draft.refuse(Rejected("tagger", "agreement", tag, detail=f"said by {sources(tag)}"))
        draft.tags = [tag for tag in merged if sources(tag) >= self.params.agree_min]

    def _tag(self, tag: Text, least: float) -> tuple[Text, str | None]:
        known = self.names.canonical(tag.text)
        name = known or self.names.normalised(tag.text)
        tag = tag if name == tag.text else tag.model_copy(update={"text": name})
        if not name or (known is None and says_nothing(tag.text)):
            return tag, "empty"
        if known is None and refuses(tag.text):
            return tag, "refusal"
        if known is None and len(name) > _LONGEST_NAME:
            return tag, "too_long"
        if known is None and self.params.unknown_tags == "reject":
            return tag, "unknown_tag"
        return tag, "score" if tag.score < least else None

    def texts(self, draft: Draft, role: str, texts: Sequence[Text], region: Proposal | None = None) -> list[Text]:
        """Return the captions that may be written, cleaned, each once; a region's may not name a held-out concept."""
        accepted: list[Text] = []
        for text in texts:
            cleaned = clean(text.text, self.params.caption_words_max)
            fault = text_fault(cleaned, self.params.phrase_repeats_max)
            if (
                fault is None
                and region is not None
                and self.held_out & set(map(name_key, self.vocabulary.find(cleaned)))
            ):
                fault = "held_out"
            if fault is None and any(cleaned == other.text for other in accepted):
                fault = "double"
            if fault is None:
                accepted.append(text if cleaned == text.text else text.model_copy(update={"text": cleaned}))
            else:
                draft.refuse(Rejected(role, fault, text), region)
        return accepted

    def scored(
        self, draft: Draft, role: str, texts: Sequence[tuple[Text, float]], region: Proposal | None = None
    ) -> list[Text]:
        """Return the captions whose filter score reaches the threshold for their kind."""
        accepted = []
        for text, score in texts:
            least = self._threshold(text, region)
            if self.params.store_filter_score:
                text = text.model_copy(update={"filter_score": score})
            if least is None or score >= least:
                accepted.append(text)
            else:
                draft.refuse(Rejected(role, "filter_score", text, detail=f"{score:.4f} < {least}"), region)
        return accepted

    def _threshold(self, text: Text, region: Proposal | None) -> float | None:
        if region is not None:
            return self.params.region_caption_threshold
        is_long = len(text.text.split()) >= self.params.long_caption_words
        long_least = self.params.long_caption_threshold
        return long_least if is_long and long_least is not None else self.caption_threshold


def _is_teachers(tag: Text) -> bool:
    return tag.source.startswith("clip_teacher/")


def _label(proposal: Proposal) -> str | None:
    return proposal.tags[0].text if proposal.tags else None
