"""A model behind the answer cache: stored answers where there are any, the model's own where not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umgclip.annotate.cache.cache import AnswerCache
from umgclip.annotate.cache.lazy_model import LazyModel
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure, Rejected
from umgclip.records import Text


class CachedModel:
    """A model behind the answer cache, with the methods of all protocols in `roles`."""

    def __init__(self, model: LazyModel, cache: AnswerCache) -> None:
        self.model, self._cache = model, cache
        self.name = model.name  # as the params call it

    def judge_images(self, images: Sequence[Pixels]) -> list[list[Rejected] | Failure]:
        """Answer the policy role, from the cache where the inputs match."""
        return self._cache.ask("policy", self.model, images)

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Answer the proposer role, from the cache where the inputs match."""
        return self._cache.ask("proposer", self.model, images, captions)

    def tag_regions(
        self, images: Sequence[Pixels], captions: Sequence[str], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal] | Failure]:
        """Answer the region tagger role, from the cache where the inputs match."""
        return self._cache.ask("region_tagger", self.model, images, captions, proposals)

    def refine_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal] | Failure]:
        """Answer the masker role, from the cache where the inputs match."""
        return self._cache.ask("masker", self.model, images, proposals)

    def caption_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """Answer the region captioner role, from the cache where the inputs match."""
        return self._cache.ask("region_captioner", self.model, images, proposals)

    def tag_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Text] | Failure]:
        """Answer the tagger role, from the cache where the inputs match."""
        return self._cache.ask("tagger", self.model, images, captions)

    def caption_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Text] | Failure]:
        """Answer the captioner role, from the cache where the inputs match."""
        return self._cache.ask("captioner", self.model, images, proposals)

    def score(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[float | Failure]:
        """Answer the filter role, from the cache where the inputs match."""
        return self._cache.ask("filter", self.model, images, texts)

    def write_negatives(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[list[Text]] | Failure]:
        """Answer the negator role, from the cache where the inputs match."""
        return self._cache.ask("negator", self.model, images, proposals)

    def embed_images(self, images: Sequence[Pixels]) -> list[np.ndarray | Failure]:
        """Answer the embedder role for images, from the cache where the inputs match."""
        return self._cache.ask("image_embedder", self.model, images)

    def embed_regions(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal] | Failure]:
        """Answer the embedder role for regions, from the cache where the inputs match."""
        return self._cache.ask("region_embedder", self.model, images, proposals)
