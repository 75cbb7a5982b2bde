"""The base's own embeddings of texts, which decide what counts as the same text while the text tower learns."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from umgclip.model.clip.text import TextFeatures, text_parameters
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams

_TEXTS_KEPT = 1 << 17


class BaseTexts:
    """A frozen copy of a text tower as it is now; a text that comes again is not encoded again.

    Args:
        tower: the model, before anything in it has learnt.
        device: where texts are encoded.
    """

    def __init__(self, tower: DenseClip, device: torch.device) -> None:
        without_images = {id(tower.clip.visual): nn.Identity()}
        self._clip = copy.deepcopy(tower.clip, without_images).to(device).eval().requires_grad_(False)
        self._embed_dim = tower.embed_dim
        self._texts = TextFeatures(_TEXTS_KEPT)

    def __call__(self, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:
        """Embed texts by their tokens, L2-normalised, without a graph."""
        return self._texts(self._clip, tokens, self._embed_dim)


def base_texts(tower: DenseClip, params: TrainParams, device: torch.device) -> BaseTexts | None:
    """Copy the text tower if a term compares texts by it; None if none does, or if the tower stays the base's.

    Args:
        tower: the model, before anything in it has learnt or was wrapped.
        params: the section `train`.
        device: where texts are encoded.
    """
    asked = params.joint_threshold is not None and (params.weights.region_text or params.weights.pixel)
    learns = any(parameter.requires_grad for parameter in text_parameters(tower.clip))
    return BaseTexts(tower, device) if asked and learns else None
