"""The method of each role and its arguments, which are columns of one row an image (or pair of image and text)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Column = Literal["image", "caption", "proposals", "text"]


@dataclass(frozen=True)
class RoleCall:
    """A role, its method and the columns it takes; proposals come last."""

    role: str
    method: str
    columns: tuple[Column, ...]

    @property
    def has_proposals(self) -> bool:
        """True if the last column holds the proposals of each image."""
        return self.columns[-1] == "proposals"


ROLE_CALLS: Mapping[str, RoleCall] = {
    call.role: call
    for call in (
        RoleCall("policy", "judge_images", ("image",)),
        RoleCall("proposer", "propose_images", ("image", "caption")),
        RoleCall("region_tagger", "tag_regions", ("image", "caption", "proposals")),
        RoleCall("masker", "refine_images", ("image", "proposals")),
        RoleCall("region_captioner", "caption_regions", ("image", "proposals")),
        RoleCall("image_embedder", "embed_images", ("image",)),
        RoleCall("region_embedder", "embed_regions", ("image", "proposals")),
        RoleCall("tagger", "tag_images", ("image", "caption")),
        RoleCall("captioner", "caption_images", ("image", "proposals")),
        RoleCall("filter", "score", ("image", "text")),
        RoleCall("negator", "write_negatives", ("image", "proposals")),
    )
}
