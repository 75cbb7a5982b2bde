"""`annotate`: the built-in roles and the run; `annotators` has the models that may fill roles."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from umgclip.params.annotators import CAPABLE, ModelParams, RolesParams, RulesParams, check_roles
from umgclip.params.ray import RayParams
from umgclip.params.section import INDIFFERENT, Count, Device, Precision, Section, Share


class ProposerParams(Section):
    """`annotate.proposer`: class-agnostic regions from a segment tree."""

    background_distance: float = Field(default=3.0, gt=0, description="standard deviations from a border colour")
    graph_scale: float = Field(default=60.0, gt=0, description="the k of the graph segmentation; larger joins more")
    min_segment: Share = Field(default=0.006, description="smallest segment as a share of the image")
    min_area: Share = Field(default=0.005, description="smallest region as a share of the image")
    max_area: Share = Field(default=0.7, description="largest region as a share of the image")
    most: Count = Field(default=20, description="regions looked at per image")
    working_px: Count = Field(
        default=640, description="longer side of the picture that regions are found in; larger ones are shrunk for it"
    )


class LabelParams(Section):
    """`annotate.label`: how the CLIP teacher reads regions."""

    looks_at_least: Count = Field(default=4, description="things looked at in an image whose caption names none")
    looks_per_noun: Count = Field(default=4, description="more of them for each thing that the caption names")
    crop_px: Count | Literal["auto"] | None = Field(
        default="auto",
        description="side of a region's crop, whole patches; auto: half or 3/4 of the model's own; null: its own",
    )
    object_share: float = Field(default=0.6, gt=0, le=1, description="region's longer side as a share of its crop")
    fill: Literal["none", "background", "mean"] = Field(default="background", description="outside the region's mask")
    temperature_factor: float = Field(default=0.5, gt=0, description="times the base's logit scale")
    threshold: Share = Field(default=0.05, description="score that a label has to be worth")
    coverage: float = Field(
        default=2.0, ge=0, description="how much more a label is worth on a region that covers more"
    )
    stuff_threshold: Share = Field(default=0.3, description="least probability of a background that no caption names")
    overlap: Share = Field(default=0.3, description="share of a labelled region that another may hold too")
    keep_unlabelled: int = Field(default=3, ge=0, description="proposals kept without a label, for distillation")
    batch: Count = 256
    device: Device = "auto"
    dtype: Precision = Field(default="auto", description="auto: fp32 on a CPU, bf16 on a GPU that has it, else fp16")


class MaskerParams(Section):
    """`annotate.masker`: GrabCut around labelled things."""

    redraw: bool = Field(default=False, description="also where the proposer has drawn a mask")
    iterations: Count = 2
    context: float = Field(default=1.4, ge=1, description="crop around the region, times its box")
    working_px: Count = Field(default=640, description="longer side of the crop that is cut; larger ones are shrunk")


class AnnotateParams(Section):
    """`annotate`: captions, tags, boxes and masks for raw images."""

    roles: RolesParams = RolesParams()
    models: dict[str, ModelParams] = Field(default={}, description="models beside the built-in ones, by a name")
    engine: Annotated[Literal["local", "ray"], INDIFFERENT] = Field(
        default="local", description="processes of this machine, or Ray Data"
    )
    workers: Annotated[int, INDIFFERENT] = Field(default=0, ge=0, description="processes; 0: one per core")
    ray: Annotated[RayParams, INDIFFERENT] = RayParams()
    batch: Count = Field(default=16, description="images at once")
    store: Annotated[str | None, INDIFFERENT] = Field(
        default=None, description="folder or s3:// prefix where answers of roles are kept; null: nowhere"
    )
    store_gb: Annotated[float, INDIFFERENT] = Field(
        default=20.0, gt=0, description="of a folder; what was not used for longest goes first"
    )
    output: str | None = Field(
        default=None, pattern=r"^s3://", description="prefix for annotated shards; null: beside their manifest"
    )
    attempts: Annotated[Count, INDIFFERENT] = Field(
        default=3, description="times that a batch, then an image, may end its worker"
    )
    min_concept_count: Count | Literal["auto"] = Field(
        default="auto", description="captions that must hold a chunk to make it a concept; auto: 5, fewer in small sets"
    )
    language: Literal["en", "none"] = Field(
        default="en", description="of captions; none: concepts are those of rules.vocabulary"
    )
    held_out: list[str] = Field(default=[], description="concepts that are never written as a label of a region")
    caption_threshold: Share = Field(default=0.5, description="least filter score of a written image caption")
    max_failed: Annotated[Share, INDIFFERENT] = Field(
        default=0.01, description="share of samples that may fail before the run stops"
    )
    proposer: ProposerParams = ProposerParams()
    label: LabelParams = LabelParams()
    masker: MaskerParams = MaskerParams()
    rules: RulesParams = RulesParams()

    @model_validator(mode="after")
    def _roles_are_filled(self) -> AnnotateParams:
        check_roles(self.roles, self.models)
        asked = {name for role in CAPABLE for name in self.roles.of(role)}
        if unknown := set(self.ray.pools) - asked:
            raise ValueError(f"ray.pools: expected names of models that roles ask, got {', '.join(sorted(unknown))}")
        if self.ray.pools and self.store is None:
            raise ValueError("ray.pools: expected annotate.store, where pools find each other's answers, got null")
        return self
