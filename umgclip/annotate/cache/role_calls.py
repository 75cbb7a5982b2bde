"""What is asked of each role: the method that answers, and what its arguments are, one row an image (or pair)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Column = Literal["image", "caption", "proposals", "text"]


@dataclass(frozen=True)
class Question:
    """A role's method and its columns; proposals come last."""

    role: str
    method: str
    columns: tuple[Column, ...]

    @property
    def has_proposals(self) -> bool:
        """Whether the last column are regions."""
        return self.columns[-1] == "proposals"


QUESTIONS: Mapping[str, Question] = {
    question.role: question
    for question in (
        Question("policy", "judge_images", ("image",)),
        Question("proposer", "propose_images", ("image", "caption")),
        Question("region_tagger", "tag_regions", ("image", "caption", "proposals")),
        Question("masker", "refine_images", ("image", "proposals")),
        Question("region_captioner", "caption_regions", ("image", "proposals")),
        Question("image_embedder", "embed_images", ("image",)),
        Question("region_embedder", "embed_regions", ("image", "proposals")),
        Question("tagger", "tag_images", ("image", "caption")),
        Question("captioner", "caption_images", ("image", "proposals")),
        Question("filter", "score", ("image", "text")),
    )
}
