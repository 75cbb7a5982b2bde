"""`annotate.roles` and `annotate.rules`: the models that fill each role, and which of their answers are written.

A role names a built-in (`clip_teacher`, `tuned_teacher`, `segment_tree`, `grabcut`, `given`, `none`) or an entry of
`annotate.models`; one entry may fill several roles and is then loaded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from umgclip.params.annotators import KINDS, Names
from umgclip.params.section import FILE, Count, Section, Share

BUILT_IN: Mapping[str, tuple[str, ...]] = {
    "clip_teacher": ("region_tagger", "region_captioner", "tagger", "captioner", "filter"),
    "tuned_teacher": ("region_tagger", "tagger", "filter"),
    "segment_tree": ("proposer",),
    "grabcut": ("masker",),
    "given": ("region_tagger",),
    "none": ("policy", "masker", "region_captioner", "tagger", "captioner", "filter", "negator"),
}
"""The roles that each built-in may fill."""


class RolesParams(Section):
    """`annotate.roles`: the names that fill each role. All of them answer; maskers work in the order given."""

    policy: Names = Field(default=["none"], description="see an image first and may refuse it")
    proposer: Names = ["segment_tree"]
    masker: Names = ["grabcut"]
    region_tagger: Names = Field(default=["clip_teacher"], description="given: the labels from the proposer")
    region_captioner: Names = ["clip_teacher"]
    tagger: Names = ["clip_teacher"]
    captioner: Names = ["clip_teacher"]
    filter: str = "clip_teacher"
    negator: Names = Field(
        default=["none"], description="write wrong texts of regions, if rules.negatives is set; the rule adds its own"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_name_is_a_list(cls, given: Any) -> Any:  # noqa: ANN401 - any YAML value
        if not isinstance(given, dict):
            return given
        return {k: [v] if isinstance(v, str) and k != "filter" else v for k, v in given.items()}

    def with_tuned_teacher(self) -> RolesParams:
        """Return the roles with the tuned model beside the base wherever the base alone fills one that both may."""
        both = BUILT_IN["tuned_teacher"]
        filled = {role: ["tuned_teacher" if n == "clip_teacher" else n for n in self.of(role)] for role in both}
        return self.model_copy(update={**filled, "filter": filled["filter"][0]})

    def of(self, role: str) -> list[str]:
        """Return the names that fill a role."""
        names = getattr(self, role)
        return [names] if isinstance(names, str) else list(names)


def _capable(role: str) -> tuple[str, ...]:
    """Return what may fill a role: annotators that are built in, kinds, and last `given` and `none`."""
    built_in = [name for name, roles in BUILT_IN.items() if role in roles]
    last = [name for name in built_in if name in ("given", "none")]
    kinds = [kind for kind, section in KINDS.items() if role in section.ROLES]
    return (*(name for name in built_in if name not in last), *kinds, *last)


CAPABLE: Mapping[str, tuple[str, ...]] = {role: _capable(role) for role in RolesParams.model_fields}
"""What may fill each role: built-ins by name, others by kind."""


class RulesParams(Section):
    """`annotate.rules`: which answers of the roles are written; null switches a rule off."""

    vocabulary: Annotated[str | None, FILE] = Field(
        default=None, description="file with concepts and synonyms in addition to the mined ones"
    )
    unknown_tags: Literal["reject", "keep"] = Field(
        default="reject", description="what happens to tags that are in no vocabulary"
    )
    tag_score_min: Share = 0.0
    region_tag_score_min: Share = 0.0
    long_caption_words: Count = Field(default=25, description="captions with at least this many words are long")
    long_caption_threshold: Share | None = Field(
        default=None, description="least filter score of long captions; null: as for short ones"
    )
    region_caption_threshold: Share | None = Field(
        default=None, description="least filter score of a region's caption with the region's crop"
    )
    store_filter_score: bool = Field(
        default=False, description="write the score of the filter in addition to the score of the source"
    )
    agree_min: Count = Field(default=1, description="sources that must give a tag of an image before it is written")
    nms_iou: Share | None = Field(
        default=None, description="IoU above which regions with the same label, or without one, are duplicates"
    )
    containment: Share | None = Field(
        default=None, description="share of a region inside another with the same label above which it is a duplicate"
    )
    given_iou: Share | None = Field(
        default=0.7, description="IoU with a region that came with the image above which the proposed one is dropped"
    )
    area_share_min: Share = 0.0
    area_share_max: Share = 1.0
    area_px_min: int = Field(default=0, ge=0, description="least area of a region's box")
    aspect_max: float | None = Field(
        default=None, ge=1, description="largest ratio of the longer to the shorter side of a region's box"
    )
    caption_words_max: Count = Field(default=100, description="longer captions are cut at the end of a sentence")
    phrase_repeats_max: Count = Field(default=2, description="times that a phrase may follow itself")
    negatives: Count | None = Field(
        default=None,
        le=48,
        description="most wrong texts of a region: another colour, material, number, attribute, relation or object; "
        "training takes ten of them, each time others",
    )


def check_roles(roles: RolesParams, models: Mapping[str, Any]) -> None:
    """Check that each name is a built-in or a model that may fill its role.

    Raises:
        ValueError: names the role, what may fill it, and what it got.
    """
    for name in models:
        if name in BUILT_IN:
            raise ValueError(f"models.{name}: expected another name, got that of a built-in; rename the model")
    for role, capable in CAPABLE.items():
        for name in roles.of(role):
            if name not in models and name not in BUILT_IN:
                known = ", ".join([*(n for n in capable if n in BUILT_IN), *models])
                raise ValueError(f"roles.{role}: expected one of {known}, got {name!r}; add it to annotate.models")
            kind = models[name].kind if name in models else name
            if kind not in capable:
                raise ValueError(f"roles.{role}: expected {' or '.join(capable)}, got {kind}")
        if "none" in roles.of(role) and len(roles.of(role)) > 1:
            raise ValueError(f"roles.{role}: expected none alone, got {', '.join(roles.of(role))}")
