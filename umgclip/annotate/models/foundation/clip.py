"""CLIP, SigLIP and SigLIP 2 over the vocabulary: tags of images and of the crops of regions, and filter scores.

SigLIP gives the probability of each concept on its own (a sigmoid); CLIP only ranks them (a softmax over all). Their
scores cannot be compared, so each concept can have a separate threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.pictures import stretched_pictures
from umgclip.annotate.models.foundation.weights import load, weights_field
from umgclip.annotate.models.source_name import with_prompt
from umgclip.annotate.proposal import Pixels, Proposal, region_crop
from umgclip.annotate.rejected import Failure
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.model.clip.prompts import fill_template
from umgclip.params.annotators import ClipParams
from umgclip.records import Text

_TEXTS = 256  # embedded at once
_FAMILIES = ("clip", "siglip", "siglip2")


class Clip:
    """A tagger, region tagger and filter over a fixed vocabulary."""

    def __init__(self, params: ClipParams, where: str, vocabulary: Vocabulary) -> None:
        """Load the weights; the vocabulary is embedded at the first call of a tagger.

        Raises:
            InputError: they are missing, do not fit, or belong to another family.
        """
        self._params, self._vocabulary = params, vocabulary
        self._loaded = load(params, where, "AutoModel", "AutoProcessor")
        self._family = str(self._loaded.model.config.model_type)
        if self._family not in _FAMILIES:
            field = weights_field(params, where)
            raise InputError(f"{field}: expected weights of {', '.join(_FAMILIES)}, got {self._family}")
        self.name = with_prompt(self._loaded.name, params.template)
        self._concepts: Tensor | None = None
        self._least = np.array([params.thresholds.get(name, params.threshold) for name in vocabulary.concepts])

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Text] | Failure]:
        """Return concepts of the vocabulary by descending score; captions are ignored."""
        del captions
        return run_batches(images, self._params.batch, lambda batch: [self._tags(f) for f in self._embed(batch)])

    def tag_regions(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal] | Failure]:
        """Add the best concept of each region's crop to its labels: things for things, stuff for stuff."""
        del captions
        crops = [
            region_crop(pixels, p, self._params.crop_context)
            for pixels, of_image in zip(images, proposals, strict=True)
            for p in of_image
        ]
        answers = iter(run_batches(crops, self._params.batch, self.concept_scores))
        return [self._tagged(of_image, [next(answers) for _ in of_image]) for of_image in proposals]

    def _tagged(
        self, proposals: list[Proposal], answers: Sequence[Float[np.ndarray, "v"] | Failure]
    ) -> list[Proposal] | Failure:
        """Return one image's proposals with their labels, or the last failure of one of its crops."""
        tagged: list[Proposal] = []
        failure: Failure | None = None
        for proposal, scores in zip(proposals, answers, strict=True):
            if isinstance(scores, Failure):
                failure = scores
            else:
                tagged.append(replace(proposal, tags=(*proposal.tags, *self._best(scores, proposal.is_stuff))))
        return failure or tagged

    def score(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[float | Failure]:
        """Return the cosine of each image with its text, mapped from [-1, 1] to [0, 1]."""

        def pairs(batch: Sequence[tuple[Pixels, str]]) -> list[float]:
            features = self._embed([pixels for pixels, _ in batch])
            words = self._embed_texts([text for _, text in batch])
            return [float(np.clip((v + 1) / 2, 0, 1)) for v in (features * words).sum(-1).tolist()]

        return run_batches(list(zip(images, texts, strict=True)), self._params.batch, pairs)

    @property
    def concepts_are_independent(self) -> bool:
        """True if each concept has an independent score; otherwise the scores of an image add up to 1."""
        return self._family != "clip"

    def concept_scores(self, images: Sequence[Pixels]) -> list[Float[np.ndarray, "v"]]:
        """Return the scores of all concepts for each image of a batch that fits into memory, in inference mode."""
        return list(self._probabilities(self._embed(images)))

    def _embed(self, images: Sequence[Pixels]) -> Float[Tensor, "n d"]:
        inputs = self._loaded.on_device(self._loaded.processor(images=stretched_pictures(images), return_tensors="pt"))
        out = self._loaded.model.get_image_features(**inputs).pooler_output
        return torch.nn.functional.normalize(out.float(), dim=-1)

    def _embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        length = int(self._loaded.model.config.text_config.max_position_embeddings)
        inputs = self._loaded.processor(
            text=list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        out = self._loaded.model.get_text_features(**self._loaded.on_device(inputs)).pooler_output
        return torch.nn.functional.normalize(out.float(), dim=-1)

    def _probabilities(self, features: Float[Tensor, "n d"]) -> Float[np.ndarray, "n v"]:
        if self._concepts is None:
            names = self._vocabulary.concepts
            texts = [fill_template(self._params.template, name) for name in names]
            parts = [self._embed_texts(texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
            self._concepts = torch.cat(parts) if parts else features.new_zeros(0, features.shape[-1])
        logits = features @ self._concepts.T * self._loaded.model.logit_scale.float().exp()
        bias = getattr(self._loaded.model, "logit_bias", None)
        if self._family == "clip":
            return logits.softmax(-1).cpu().numpy()
        return (logits if bias is None else logits + bias.float()).sigmoid().cpu().numpy()

    def _tags(self, feature: Float[Tensor, "d"]) -> list[Text]:
        scores = self._probabilities(feature[None])[0]
        order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] >= self._least[i]]
        return [self._tag(i, scores) for i in order[: self._params.most]]

    def _best(self, scores: Float[np.ndarray, "v"], is_stuff: bool) -> list[Text]:
        things = len(self._vocabulary.things)
        first, some = (things, scores[things:]) if is_stuff else (0, scores[:things])
        if not len(some):
            return []
        best = first + int(some.argmax())
        return [self._tag(best, scores)] if scores[best] >= self._least[best] else []

    def _tag(self, index: int, scores: Float[np.ndarray, "v"]) -> Text:
        score = float(np.clip(scores[index], 0, 1))
        return Text(text=self._vocabulary.concepts[index], score=score, source=self.name)
