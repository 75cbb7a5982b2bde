"""The offline annotator: the base CLIP reads masked-out crops, and the alt text says which concepts to expect.

A crop whose surroundings are replaced by the background colour of the image is recognised far better than a plain one,
so regions are read that way. The concepts that may be in the image come from its caption (as in the concept pool of
RegionCLIP, Zhong et al., CVPR 2022). One assignment then decides which region carries which of them; assigned regions
must not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from umgclip.annotate.models.assign import assign
from umgclip.annotate.models.looks import crop_sides, crops, in_batches
from umgclip.annotate.proposal import Pixels
from umgclip.annotate.roles import Proposal
from umgclip.data.vocabulary import Vocabulary
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.placement import placement
from umgclip.model.clip.prompts import with_article
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LabelParams
from umgclip.records import Text

_COMPARED_PX = 1024  # longest side up to which masks are compared in full resolution


@runtime_checkable  # the tests check annotated types as they run
class Opinion(Protocol):
    """Another model's opinion of one image, which decides about labels together with the base."""

    @property
    def threshold(self) -> float:
        """The least joint score of a label."""
        ...

    def joint(
        self, scores: Float[np.ndarray, "r n"], masks: Sequence[np.ndarray], named: list[int]
    ) -> Float[np.ndarray, "r n"]:
        """Return the joint scores of regions with named things, out of the base's."""
        ...

    def label(
        self, region: Proposal, base: Float[np.ndarray, "v"], named: list[int], chosen: int, score: float
    ) -> tuple[Text, ...]:
        """Return the texts of a region that got the name `named[chosen]`; `base` are the base's logits."""
        ...

    def ground(
        self, region: Proposal, base: Float[np.ndarray, "s"], open_names: Sequence[int], least: float
    ) -> tuple[Text, ...]:
        """Return the texts of a background that no caption names; `base` are the base's probabilities."""
        ...


class ClipTeacher:
    """Embedder, region tagger, region captioner, tagger, captioner and filter in one, over one frozen CLIP."""

    def __init__(self, tower: DenseClip, name: str, vocabulary: Vocabulary, params: LabelParams) -> None:
        """Embed the vocabulary once.

        Args:
            tower: the base CLIP in eval mode.
            name: the source of every text; names the weights.
            vocabulary: concepts. Held-out ones are recognised, so that their regions do not get another name, but
                never written.
            params: the section `annotate.label`.

        Raises:
            InputError: the side of crops is not a multiple of the model's patch.
        """
        self.name = name
        self._vocabulary, self._params = vocabulary, params
        self._device, dtype = placement(params, "annotate.label")
        self._tower = tower.to(self._device)
        self._reader = ClipReader(tower, tower.tokenizer, ImageInput.of(tower), self._device, dtype)
        self._sides = crop_sides(params.crop_px, tower.image_hw, tower.patch_px)
        self._scale = self._reader.scoring.scale * params.temperature_factor
        self._batch: list[Pixels] = []
        self._seen: tuple[list[Pixels], np.ndarray] = ([], np.zeros((0, tower.embed_dim), np.float32))
        self._things = self._embed_texts([with_article(name) for name in vocabulary.things])
        self._stuff = self._embed_texts([f"on {name}" for name in vocabulary.stuff])

    def begin_batch(self, images: Sequence[Pixels]) -> None:
        """Take the images that are annotated together: the first call for some of them embeds all in one batch."""
        self._batch = list(images)

    def _embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "t d"]:
        return self._reader.texts(texts).numpy()

    def _embed_images(self, images: Sequence[Pixels]) -> Float[np.ndarray, "n d"]:
        features = np.zeros((len(images), self._tower.embed_dim), np.float32)
        on_cpu = self._device.type == "cpu"
        for rows in in_batches(images, self._params.batch, self._tower.patch_px, on_cpu):
            features[rows] = self._reader.crops([images[row] for row in rows]).cpu().numpy()
        return features

    def _embed_whole(self, images: Sequence[Pixels]) -> Float[np.ndarray, "n d"]:
        """Embed images of any size, squeezed to the image size of the model."""
        return self._embed_images([self._reader.images.place(pixels).pixels for pixels in images])

    def embed_images(self, images: Sequence[Pixels]) -> Float[np.ndarray, "n d"]:
        """Return the embeddings of whole images; those of the last call are remembered."""
        if not self._knows(images):
            self._seen = list(images), self._embed_whole(images)
        return self._known_features(images)

    def embed_regions(self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]) -> list[list[Proposal]]:
        """Return all proposals; those without an embedding get that of the crop that labels are read from."""
        missing = [[p for p in of_image if p.embedding is None and not p.is_empty()] for of_image in proposals]
        embedded = iter(self._embedded(images, missing))
        return [
            [next(embedded) if p.embedding is None and not p.is_empty() else p for p in of_image]
            for of_image in proposals
        ]

    def _embedded(self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]) -> list[Proposal]:
        """Return the proposals of all images in one list, each with the embedding of its crop."""
        crops = [
            crop for pixels, of_image in zip(images, proposals, strict=True) for crop in self._crops(pixels, of_image)
        ]
        everything = [proposal for of_image in proposals for proposal in of_image]
        return [
            replace(proposal, embedding=embedding)
            for proposal, embedding in zip(everything, self._embed_images(crops), strict=True)
        ]

    def tag_regions(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal]]:
        """Label things by assignment, and backgrounds by the stuff of the caption or of the vocabulary."""
        return self.tag_regions_with(images, captions, proposals, [None] * len(images))

    def tag_regions_with(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]],
        opinions: Sequence[Opinion | None],
    ) -> list[list[Proposal]]:  # fmt: skip
        """Label regions as `tag_regions` does, together with another model's opinion of each image if there is one."""
        proposals = [self._candidates(of_image, text) for of_image, text in zip(proposals, captions, strict=True)]
        embedded = iter(self._embedded(images, proposals))
        tagged = []
        for caption, of_image, opinion in zip(captions, proposals, opinions, strict=True):
            candidates = [next(embedded) for _ in of_image]
            nouns = self._vocabulary.find(caption)
            things = [p for p in candidates if not p.is_stuff]
            grounds = [self._tag_ground(p, nouns, opinion) for p in candidates if p.is_stuff]
            tagged.append([*self._tag_things(things, nouns, opinion), *grounds])
        return tagged

    def read_things(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal]]:
        """Return the things of each image that `tag_regions` would read, each with its embedding."""
        read = [
            [p for p in self._candidates(of_image, text) if not p.is_stuff]
            for of_image, text in zip(proposals, captions, strict=True)
        ]
        embedded = iter(self._embedded(images, read))
        return [[next(embedded) for _ in of_image] for of_image in read]

    def compete(self, things: Sequence[Proposal], names: Sequence[str]) -> list[tuple[int, str, float]]:
        """Let names compete for regions as those of a caption do.

        Args:
            things: regions with their embeddings, as from `read_things`.
            names: things of the vocabulary, each once.

        Returns:
            Row of the region, name and score of each label, the best first; held-out names are among them.
        """
        if not things or not names:
            return []
        index = {name: i for i, name in enumerate(self._vocabulary.things)}
        embeddings = np.array([p.embedding for p in things], np.float32)
        masks = [_thinned(p.mask) for p in things]
        scores = label_scores(embeddings @ self._things.T * self._scale, [index[name] for name in names], masks)
        chosen = assign(scores, masks, self._params.threshold, self._params.overlap, self._params.coverage)
        return [(row, names[column], score) for row, column, score in chosen]

    def _candidates(self, proposals: list[Proposal], caption: str) -> list[Proposal]:
        """Return the proposals that are read: the best things, and all stuff.

        Each costs a forward pass, so the number of things grows with the things that the caption names. If it names
        none, no thing gets a label, and only those that stay without one are read.
        """
        nouns = sum(name not in self._vocabulary.stuff for name in self._vocabulary.find(caption))
        most = self._params.looks_at_least + self._params.looks_per_noun * nouns
        if not nouns:
            most = min(most, self._params.keep_unlabelled)
        things = [p for p in proposals if not p.is_stuff][:most]
        return [*things, *(p for p in proposals if p.is_stuff)]

    def _crops(self, pixels: Pixels, proposals: list[Proposal]) -> list[UInt8[np.ndarray, "side side 3"]]:
        return crops(pixels, proposals, self._params, self._sides)

    def _tag_things(self, things: list[Proposal], nouns: list[str], opinion: Opinion | None = None) -> list[Proposal]:
        """Return the assigned things with their labels, then the best of the others without."""
        if not things:
            return []
        index = {name: i for i, name in enumerate(self._vocabulary.things)}
        named = [index[name] for name in nouns if name in index]
        embeddings = np.array([p.embedding for p in things], np.float32)
        masks = [_thinned(p.mask) for p in things]
        logits = embeddings @ self._things.T * self._scale
        scores, threshold = label_scores(logits, named, masks), self._params.threshold
        if opinion is not None and named:
            scores, threshold = opinion.joint(scores, masks, named), opinion.threshold
        chosen = assign(scores, masks, threshold, self._params.overlap, self._params.coverage)
        held_out = set(self._vocabulary.held_out)
        labelled, taken = [], []
        for row, column, score in chosen:
            name = self._vocabulary.things[named[column]]
            taken.append(row)
            tags: tuple[Text, ...] = (Text(text=name, score=score, source=self.name),)
            if opinion is not None:
                tags = opinion.label(things[row], logits[row], named, column, score)
            labelled.append(things[row] if name in held_out else replace(things[row], tags=tags))
        rest = [p for i, p in enumerate(things) if i not in taken]
        return [*labelled, *rest[: max(0, self._params.keep_unlabelled)]]

    def _tag_ground(self, ground: Proposal, nouns: list[str], opinion: Opinion | None = None) -> Proposal:
        """Return the background with the caption's stuff as its label, or with the likeliest of the vocabulary."""
        stuff = self._vocabulary.stuff
        if not stuff or ground.embedding is None:
            return ground
        named = [name for name in nouns if name in stuff and name not in self._vocabulary.held_out]
        logits = ground.embedding @ self._stuff.T * self._scale
        probabilities = _softmax(logits)
        if opinion is not None and not named:
            free = [row for row, name in enumerate(stuff) if name not in self._vocabulary.held_out]
            return replace(ground, tags=opinion.ground(ground, probabilities, free, self._params.stuff_threshold))
        best = stuff.index(named[0]) if named else int(probabilities.argmax())
        score = 1.0 if named else float(probabilities[best])
        if score >= self._params.stuff_threshold and stuff[best] not in self._vocabulary.held_out:
            source = "alt" if named else self.name
            return replace(ground, tags=(Text(text=stuff[best], score=score, source=source),))
        return ground

    def caption_regions(self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]) -> list[list[list[Text]]]:
        """Return the label of each region as a phrase."""
        del images  # the labels come from their embeddings
        return [[self._phrase(proposal) for proposal in of_image] for of_image in proposals]

    def _phrase(self, proposal: Proposal) -> list[Text]:
        """Return the label as a phrase such as "an apple": an offline teacher has only a template."""
        return [
            Text(text=tag.text if proposal.is_stuff else with_article(tag.text), score=tag.score, source=self.name)
            for tag in proposal.tags
        ]

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Text]]:
        """Return the concepts of each caption, scored by the softmax of their cosines over the vocabulary."""
        features = self.embed_images(images)
        concepts = self._vocabulary.concepts
        embedded = np.concatenate([self._things, self._stuff])
        tags = []
        for feature, caption in zip(features, captions, strict=True):
            probabilities = _softmax(feature @ embedded.T * self._scale)
            names = self._vocabulary.find(caption)
            texts = [Text(text=n, score=float(probabilities[concepts.index(n)]), source="alt") for n in names]
            tags.append(sorted(texts, key=lambda text: -text.score))
        return tags

    def caption_images(self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]) -> list[list[Text]]:
        """Return one caption for each image, made from the labels of its regions."""
        del images  # the proposals have the labels
        return [self._caption(of_image) for of_image in proposals]

    def _caption(self, proposals: list[Proposal]) -> list[Text]:
        """Return the things from left to right, then their background; the score is the lowest of all parts."""
        things = sorted((p for p in proposals if p.tags and not p.is_stuff), key=lambda p: p.box_xyxy[0])
        if not things:
            return []
        phrases = [with_article(p.tags[0].text) for p in things]
        text = phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
        ground = next((p for p in proposals if p.is_stuff and p.tags), None)
        parts = [p.tags[0].score for p in things]
        if ground is not None:
            text, parts = f"{text} on {ground.tags[0].text}", [*parts, ground.tags[0].score]
        return [Text(text=text, score=min(parts), source=self.name)]

    def score(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[float]:
        """Return the cosine of each image with its text, mapped from [-1, 1] to [0, 1]."""
        features, embedded = self._known_features(images), self._embed_texts(texts)
        return [float(np.clip((f @ t + 1) / 2, 0, 1)) for f, t in zip(features, embedded, strict=True)]

    def _known_features(self, images: Sequence[Pixels]) -> Float[np.ndarray, "n d"]:
        """Return embeddings of images, those of the last `embed_images` if it had them, so that none is read twice."""
        if not self._knows(images):
            of_batch = {id(pixels) for pixels in self._batch}
            if not all(id(pixels) in of_batch for pixels in images):
                return self._embed_whole(images)
            self.embed_images(self._batch)
        rows = {id(pixels): row for row, pixels in enumerate(self._seen[0])}
        return self._seen[1][[rows[id(pixels)] for pixels in images]]

    def _knows(self, images: Sequence[Pixels]) -> bool:
        seen = {id(pixels) for pixels in self._seen[0]}
        return all(id(pixels) in seen for pixels in images)


def _thinned(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h2 w2"]:
    """Return a mask at the resolution for comparisons: of a large image every n-th row and column."""
    step = -(-max(mask.shape) // _COMPARED_PX)
    return mask[::step, ::step]


def label_scores(
    logits: Float[np.ndarray, "r v"], named: list[int], masks: Sequence[np.ndarray]
) -> Float[np.ndarray, "r n"]:
    """Score each region with each concept of its caption.

    The score is the geometric mean of the softmax over all concepts and the softmax over those of the caption, times
    the fourth root of the region's share of the image: a part of an object may look as much like it as the whole
    object, and the whole should win.

    Args:
        logits: of each region with each concept of the vocabulary.
        named: positions of the caption's concepts in the vocabulary.
        masks: of the regions.
    """
    if not named:
        return np.zeros((len(logits), 0), np.float32)
    size = np.array([mask.mean() for mask in masks]) ** 0.25
    return np.sqrt(_softmax(logits)[:, named] * _softmax(logits[:, named])) * size[:, None]


def _softmax(logits: Float[np.ndarray, "... v"]) -> Float[np.ndarray, "... v"]:
    if not logits.shape[-1]:
        return logits
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
