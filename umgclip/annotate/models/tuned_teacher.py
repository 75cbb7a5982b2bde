"""Two teachers in one: the base reads crops, a tuned model reads the whole image, and both name the regions together.

The two err in different ways. A crop hides what is around a region, and a tuned model has learnt from all images, where
wrong labels of the first teacher contradict each other. Where both say the same name its score rises, where they differ
it falls, and a name that neither of them likes best is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float

from umgclip.annotate.models.clip_teacher import ClipTeacher, label_scores
from umgclip.annotate.models.tuned_reader import ImageReading, TunedReader
from umgclip.annotate.proposal import Pixels
from umgclip.annotate.rejected import Rejected
from umgclip.annotate.roles import Partly, Proposal
from umgclip.data.vocabulary import Vocabulary
from umgclip.params import TunedParams
from umgclip.records import Text

_LEAST = 1e-6  # replaces a score of 0 in logarithms


@dataclass(frozen=True)
class Agreement:
    """The scores that two sources give to the names that are open for one region.

    Attributes:
        names: the open names.
        first: scores of the first source for each, 0 to 1.
        second: those of the second source.
        sources: names of the two.
    """

    names: Sequence[str]
    first: Float[np.ndarray, "n"]
    second: Float[np.ndarray, "n"]
    sources: tuple[str, str]

    def texts(self, chosen: int, score: float) -> tuple[Text, ...]:
        """Return the chosen name with its sources, and after it what a source that disagrees says.

        One text with both sources where they agree; its score is that of at least one being right. Otherwise the
        chosen name has the lower joint score, and the other name at most that. No text: neither source likes the
        chosen name best.

        Args:
            chosen: position of the name.
            score: joint score of the name, 0 to 1.
        """
        best = int(self.first.argmax()), int(self.second.argmax())
        if best == (chosen, chosen):
            raised = 1 - (1 - float(self.first[chosen])) * (1 - float(self.second[chosen]))
            likelier = int(self.second[chosen] > self.first[chosen])
            return (
                Text(
                    text=self.names[chosen], score=_share(max(raised, score)), source=self.sources[likelier],
                    agreed_by=[self.sources[1 - likelier]],
                ),
            )  # fmt: skip
        if chosen not in best:
            return ()
        speaker = best.index(chosen)
        other, scores = best[1 - speaker], (self.first, self.second)[1 - speaker]
        return (
            Text(text=self.names[chosen], score=_share(score), source=self.sources[speaker]),
            Text(
                text=self.names[other], score=_share(min(float(scores[other]), score)), source=self.sources[1 - speaker]
            ),
        )


@dataclass
class SecondOpinion:
    """The tuned model's opinion of one image, for the base to label its regions with.

    Attributes:
        reading: of the image.
        vocabulary: the concepts.
        params: the section `annotate.tuned`.
        sources: names of the base and of the tuned model.
        refused: labels that were removed, to be counted.
    """

    reading: ImageReading
    vocabulary: Vocabulary
    params: TunedParams
    sources: tuple[str, str]
    refused: list[Rejected] = field(default_factory=list)

    @property
    def threshold(self) -> float:
        """The least joint score of a label."""
        return self.params.threshold

    def joint(
        self, scores: Float[np.ndarray, "r n"], masks: Sequence[np.ndarray], named: list[int]
    ) -> Float[np.ndarray, "r n"]:
        """Return the score of each region with each named thing, by both and by how well the region is its place."""
        weights = self.reading.weights(masks)
        tuned = label_scores(self._things(weights), named, masks)
        fits = self.reading.fits(weights, named, len(self.vocabulary.things))
        share = self.params.weight
        return np.maximum(scores, _LEAST) ** (1 - share) * np.maximum(tuned, _LEAST) ** share * fits**self.params.fit

    def label(
        self, region: Proposal, base: Float[np.ndarray, "v"], named: list[int], chosen: int, score: float
    ) -> tuple[Text, ...]:
        """Return the texts of a region that got a name, without held-out ones.

        Args:
            region: the region.
            base: the base's logits for all things.
            named: positions of the caption's things in the vocabulary.
            chosen: position in `named`.
            score: joint score of the name.
        """
        tuned = self._things(self.reading.weights([region.mask]))[0]
        names = [self.vocabulary.things[position] for position in named]
        scores = [label_scores(logits[None], named, [np.ones(1)])[0] for logits in (base, tuned)]
        return self._written(region, Agreement(names, scores[0], scores[1], self.sources), chosen, score)

    def ground(
        self, region: Proposal, base: Float[np.ndarray, "s"], open_names: Sequence[int], least: float
    ) -> tuple[Text, ...]:
        """Return the texts of a background whose name is open.

        Args:
            region: the background.
            base: the base's probability of each stuff of the vocabulary.
            open_names: positions of the stuff that may be written.
            least: least joint probability of a label.
        """
        things = len(self.vocabulary.things)
        tuned = _softmax(self.reading.region_logits(self.reading.weights([region.mask]))[0, things:])
        share = self.params.weight
        both = _softmax((1 - share) * np.log(np.maximum(base, _LEAST)) + share * np.log(np.maximum(tuned, _LEAST)))
        best = int(both.argmax())
        if both[best] < least or best not in open_names:
            return ()
        agreement = Agreement(self.vocabulary.stuff, base, tuned, self.sources)
        return self._written(region, agreement, best, float(both[best]))

    def _written(self, region: Proposal, agreement: Agreement, chosen: int, score: float) -> tuple[Text, ...]:
        held_out = set(self.vocabulary.held_out)
        if agreement.names[chosen] in held_out:
            return ()
        texts = agreement.texts(chosen, score)
        if not texts:
            text = Text(text=agreement.names[chosen], score=_share(score), source=self.sources[1])
            self.refused.append(Rejected("region_tagger", "disagreement", text, box_xyxy=region.box_xyxy))
        return tuple(text for text in texts if text.text not in held_out)

    def _things(self, weights: Float[torch.Tensor, "r h w"]) -> Float[np.ndarray, "r t"]:
        return self.reading.region_logits(weights)[:, : len(self.vocabulary.things)]


class TunedTeacher:
    """Region tagger, tagger and filter: the base and a tuned model of it together."""

    def __init__(self, base: ClipTeacher, tuned: TunedReader, vocabulary: Vocabulary, params: TunedParams) -> None:
        """Take the two models.

        Args:
            base: reads crops.
            tuned: reads whole images.
            vocabulary: the concepts; held-out ones are never written as the label of a region.
            params: the section `annotate.tuned`.
        """
        self.name = tuned.name
        self._base, self._tuned, self._vocabulary, self._params = base, tuned, vocabulary, params

    def begin_batch(self, images: Sequence[Pixels]) -> None:
        """Take the images that are annotated together, so that each is read once for all roles."""
        self._base.begin_batch(images)

    def tag_regions(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal]]:
        """Label things by one assignment of both models' joint scores, and backgrounds by both models."""
        sources = (self._base.name, self._tuned.name)
        opinions = [
            SecondOpinion(reading, self._vocabulary, self._params, sources) for reading in self._tuned.read(images)
        ]
        tagged = self._base.tag_regions_with(images, captions, proposals, opinions)
        return [
            Partly(of_image, opinion.refused) if opinion.refused else of_image
            for of_image, opinion in zip(tagged, opinions, strict=True)
        ]

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Text]]:
        """Return the base's tags and, from the tuned model, the caption's concepts that some cell shows.

        Where the caption names nothing, the tuned model's tags are the concepts that a cell shows surely enough.
        """
        readings = self._tuned.read(images)
        return [
            [*tags, *self._tags(reading, caption)]
            for tags, reading, caption in zip(self._base.tag_images(images, captions), readings, captions, strict=True)
        ]

    def _tags(self, reading: ImageReading, caption: str) -> list[Text]:
        concepts, named = self._vocabulary.concepts, self._vocabulary.find(caption)
        scores = reading.best_cells()
        if named:
            usual = 1 / max(len(concepts), 1)
            seen = [i for i in map(concepts.index, named) if scores[i] > usual]
        else:
            seen = [i for i in range(len(self._vocabulary.things)) if scores[i] >= self._params.tag_threshold]
        tags = [Text(text=concepts[i], score=_share(float(scores[i])), source=self._tuned.name) for i in seen]
        return sorted(tags, key=lambda tag: -tag.score)

    def score(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[float]:
        """Return the mean of both models' cosines of each image with its text, mapped from [-1, 1] to [0, 1]."""
        rows = self._tuned.texts(texts)
        tuned = [float(reading.image @ row) for reading, row in zip(self._tuned.read(images), rows, strict=True)]
        first = self._base.score(images, texts)
        return [(a + float(np.clip((b + 1) / 2, 0, 1))) / 2 for a, b in zip(first, tuned, strict=True)]


def _softmax(logits: Float[np.ndarray, "v"]) -> Float[np.ndarray, "v"]:
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


def _share(score: float) -> float:
    return float(np.clip(score, 0, 1))
