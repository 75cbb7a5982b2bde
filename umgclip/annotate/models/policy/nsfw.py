"""Images not safe for work: by an image classifier with such a label, or by a CLIP with prompts for and against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.clip import Clip
from umgclip.annotate.models.foundation.pictures import stretched_pictures
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.proposal import Pixels
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.params.annotators import ClipParams, NsfwParams, WeightsParams


class Nsfw:
    """The policy `nsfw`; its score combines the probabilities of all unsafe labels or prompts."""

    def __init__(self, params: NsfwParams, where: str) -> None:
        """Load the weights: those of a CLIP if there are `safe` prompts, otherwise those of an image classifier.

        Raises:
            InputError: they are missing, belong to another kind of model, or have no such label.
        """
        self._params = params
        self._reader = _Prompts(params, where) if params.safe else _Classifier(params, where)
        self.name = self._reader.name

    def judge_images(self, images: Sequence[Pixels]) -> list[list[Rejected] | Failure]:
        """Return one finding for each image whose score reaches the threshold."""
        return [
            score if isinstance(score, Failure) else self._finding(score)
            for score in run_batches(images, self._params.batch, self._reader.scores)
        ]

    def _finding(self, score: float) -> list[Rejected]:
        if score < self._params.threshold:
            return []
        return [Rejected("policy", "nsfw", score=round(score, 4), source=self.name)]


class _Prompts:
    """Scores by a CLIP, which compares all prompts, or by a SigLIP, which judges each unsafe prompt on its own."""

    def __init__(self, params: NsfwParams, where: str) -> None:
        weights = {name: getattr(params, name) for name in WeightsParams.model_fields}
        prompts = Vocabulary((*params.unsafe, *params.safe), (), ())
        self._clip = Clip(ClipParams(**weights, template="{}"), where, prompts)
        self._unsafe = len(params.unsafe)
        self.name = self._clip.name

    def scores(self, images: Sequence[Pixels]) -> list[float]:
        joined = np.max if self._clip.concepts_are_independent else np.sum
        return [float(joined(scores[: self._unsafe])) for scores in self._clip.concept_scores(images)]


class _Classifier:
    """Scores by an image classifier: the sum of the probabilities of its unsafe labels."""

    def __init__(self, params: NsfwParams, where: str) -> None:
        self._loaded = load(params, where, "AutoModelForImageClassification", "AutoImageProcessor")
        labels = {str(name): int(row) for row, name in self._loaded.model.config.id2label.items()}
        unknown = [name for name in params.unsafe if name not in labels]
        if unknown:
            raise InputError(f"{where}.unsafe: expected labels of {', '.join(labels)}, got {', '.join(unknown)}")
        self._rows = [labels[name] for name in params.unsafe]
        self.name = self._loaded.name

    def scores(self, images: Sequence[Pixels]) -> list[float]:
        inputs = self._loaded.on_device(self._loaded.processor(images=stretched_pictures(images), return_tensors="pt"))
        probabilities = self._loaded.model(**inputs).logits.float().softmax(-1)
        return [float(row) for row in probabilities[:, self._rows].sum(-1).tolist()]
