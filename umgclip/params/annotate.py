"""`annotate`: the built-in roles and the run; `annotators.py` has the models, `roles.py` the roles and rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from umgclip.params.annotators import ModelParams
from umgclip.params.ray import RayParams
from umgclip.params.roles import CAPABLE, RolesParams, RulesParams, check_roles
from umgclip.params.section import FILE, INDIFFERENT, LOCATION, NEWER, Count, Device, Precision, Section, Share


class ProposerParams(Section):
    """`annotate.proposer`: the class-agnostic regions of the segment tree."""

    background_distance: float = Field(
        default=3.0, gt=0, description="least difference of the foreground, in standard deviations of a border colour"
    )
    graph_scale: float = Field(default=60.0, gt=0, description="k of the graph segmentation; larger values join more")
    min_segment: Share = Field(default=0.006, description="smallest segment as a share of the image")
    min_area: Share = Field(default=0.005, description="smallest region as a share of the image")
    max_area: Share = Field(default=0.7, description="largest region as a share of the image")
    most: Count = Field(default=20, description="most regions of an image")
    working_px: Count = Field(
        default=640, description="longer side of the image for the segmentation; larger images are scaled down"
    )


class LabelParams(Section):
    """`annotate.label`: how the CLIP teacher reads and labels regions."""

    looks_at_least: Count = Field(default=4, description="things that are read in an image whose caption names none")
    looks_per_noun: Count = Field(
        default=4, description="additional things that are read for each thing in the caption"
    )
    crop_px: Count | Literal["auto"] | None = Field(
        default="auto",
        description="side of a region's crop, in whole patches; auto: half or 3/4 of the model's; null: the model's",
    )
    object_share: float = Field(default=0.6, gt=0, le=1, description="longer side of the region as a share of its crop")
    fill: Literal["none", "background", "mean"] = Field(
        default="background", description="what replaces the pixels outside the region's mask"
    )
    temperature_factor: float = Field(default=0.5, gt=0, description="factor on the logit scale of the base")
    threshold: Share = Field(default=0.05, description="least score of a label")
    precision: Share | None = Field(
        default=0.7,
        description="estimated share of right labels, which sets the least score of a written one; null: all are",
    )
    precision_images: Count = Field(default=128, description="training images that the precision is estimated on")
    coverage: float = Field(
        default=2.0, ge=0, description="preference for labels on regions that cover more: factor in an exponent"
    )
    stuff_threshold: Share = Field(
        default=0.3, description="least probability of a background that the caption does not name"
    )
    overlap: Share = Field(default=0.3, description="share of a labelled region that another may cover as well")
    keep_unlabelled: int = Field(default=3, ge=0, description="proposals that stay without a label, for distillation")
    batch: Count = 256
    device: Device = "auto"
    dtype: Precision = Field(
        default="auto", description="auto: fp32 on a CPU, bf16 on a GPU that supports it, fp16 on other GPUs"
    )


class MaskerParams(Section):
    """`annotate.masker`: how GrabCut draws the masks of labelled things."""

    redraw: bool = Field(default=False, description="also redraw masks from the proposer")
    iterations: Count = 2
    context: float = Field(default=1.4, ge=1, description="side of the crop around a region, as a multiple of its box")
    working_px: Count = Field(
        default=640, description="longer side of the crop for GrabCut; larger crops are scaled down"
    )


class TunedParams(Section):
    """`annotate.tuned`: how a tuned model's reading of the whole image joins the base's reading of crops."""

    weight: Share = Field(
        default=0.75, description="share of the tuned model in the score of a label, as an exponent; the rest: the base"
    )
    fit: float = Field(
        default=0.5, ge=0, description="exponent of how well a region is the place of a name in the dense map"
    )
    threshold: Share = Field(default=0.025, description="least joint score of a label, instead of label.threshold")
    tag_threshold: Share = Field(
        default=0.3, description="least probability of a tag of an image whose caption names nothing"
    )


class AnnotateParams(Section):
    """`annotate`: captions, tags, boxes and masks for raw images."""

    roles: RolesParams = RolesParams()
    teacher: Annotated[str | None, FILE, LOCATION] = Field(  # its files decide, not their path
        default=None, description="folder of a tuned model, or models:/NAME/VERSION, that annotates beside the base"
    )
    tuned: Annotated[TunedParams, NEWER] = TunedParams()
    models: dict[str, ModelParams] = Field(default={}, description="models in addition to the built-in ones, by a name")
    engine: Annotated[Literal["local", "ray"], INDIFFERENT] = Field(
        default="local", description="processes of this machine, or Ray Data"
    )
    workers: Annotated[int, INDIFFERENT] = Field(default=0, ge=0, description="processes; 0: one per core")
    ray: Annotated[RayParams, INDIFFERENT] = RayParams()
    batch: Count = Field(default=16, description="images in a batch")
    store: Annotated[str | None, INDIFFERENT] = Field(
        default=None, description="folder or s3:// prefix that caches the answers of roles; null: no cache"
    )
    store_gb: Annotated[float, INDIFFERENT] = Field(
        default=20.0, gt=0, description="largest size of a folder; the answers unused for longest are deleted first"
    )
    output: Annotated[str | None, LOCATION] = Field(
        default=None, pattern=r"^s3://", description="prefix for annotated shards; null: next to their manifest"
    )
    attempts: Annotated[Count, INDIFFERENT] = Field(
        default=3, description="times that a batch, then an image, may crash its worker"
    )
    min_concept_count: Count | Literal["auto"] = Field(
        default="auto",
        description="captions that must contain a noun chunk to make it a concept; auto: 5, fewer in small sets",
    )
    language: Literal["en", "none"] = Field(
        default="en", description="language of captions; none: only the concepts of rules.vocabulary"
    )
    corrections: Annotated[str | None, FILE] = Field(
        default=None,
        description="file of `umgclip review import`, or the folder with it: what people corrected in training images",
    )
    held_out: list[str] = Field(default=[], description="concepts that are never written as the label of a region")
    caption_threshold: Share = Field(default=0.5, description="least filter score of an image caption that is written")
    max_failed: Annotated[Share, INDIFFERENT] = Field(
        default=0.01, description="largest share of samples that may fail before the run stops"
    )
    proposer: ProposerParams = ProposerParams()
    label: LabelParams = LabelParams()
    masker: MaskerParams = MaskerParams()
    rules: RulesParams = RulesParams()

    @property
    def taught(self) -> RolesParams:
        """The roles as they are filled: with the teacher, if there is one, beside the base."""
        return self.roles if self.teacher is None else self.roles.with_tuned_teacher()

    @model_validator(mode="after")
    def _roles_are_filled(self) -> AnnotateParams:
        check_roles(self.roles, self.models)
        tuned = [role for role in CAPABLE if "tuned_teacher" in self.taught.of(role)]
        if self.teacher is None and tuned:
            raise ValueError(f"roles.{tuned[0]}: expected annotate.teacher, the model of tuned_teacher, got null")
        if self.teacher is not None and not tuned:
            raise ValueError(
                "teacher: expected clip_teacher or tuned_teacher as region_tagger, tagger or filter, got others in all "
                "of these roles"
            )
        asked = {name for role in CAPABLE for name in self.taught.of(role)}
        if unknown := set(self.ray.pools) - asked:
            raise ValueError(f"ray.pools: expected names of models that roles ask, got {', '.join(sorted(unknown))}")
        if self.roles.negator != ["none"] and self.rules.negatives is None:
            raise ValueError("roles.negator: expected rules.negatives, the most that a region gets, got null")
        if self.ray.pools and self.store is None:
            raise ValueError("ray.pools: expected annotate.store, where pools find each other's answers, got null")
        return self
