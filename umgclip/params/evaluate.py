"""`evaluate`: how the models are read out and measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from umgclip.params.section import (
    BESIDE_SCORES,
    BOX_SHARE,
    INDIFFERENT,
    NEWER,
    BoxShare,
    Count,
    Device,
    Precision,
    Section,
    Share,
    Template,
)
from umgclip.params.segment import ReadParams


class SemanticParams(Section):
    """`evaluate.semantic`: how images are read out for semantic segmentation."""

    window_px: Count | None = Field(default=None, description="side of the sliding windows; null: whole images")
    stride_px: Count | None = Field(
        default=None, description="step from a window to the next; null: windows do not overlap"
    )
    short_px: Count | None = Field(
        default=None, description="shorter side of the image under windows; null: the side of a window"
    )
    background: str | None = Field(default=None, description="class of pixels that no other class is sure of")
    background_threshold: Share = Field(
        default=0.5, description="least softmax probability of any class but the background"
    )
    refine: Literal["pamr"] | None = Field(default=None, description="also measure scores that are refined along edges")
    refine_classes: Count = Field(default=24, description="most classes of an image that are refined")

    @model_validator(mode="after")
    def _stride_covers(self) -> SemanticParams:
        if self.window_px is not None and (self.stride_px or 0) > self.window_px:
            raise ValueError(f"stride_px: expected at most window_px ({self.window_px}), got {self.stride_px}")
        return self


ReadoutName = Literal[
    "box",
    "mask",
    "crop",
    "maskout",
    "tight",
    "context",
    "whole_box",
    "raw_box",
    "last_box",
    "last_mask",
    "surgery_box",
    "surgery_mask",
    "foveal",
    "falip",
]


TemplateSet = Literal["simple", "openai80", "manifest"]


class DetectionParams(Section):
    """`evaluate.detection`: how given boxes become detections."""

    readout: Literal["box", "whole_box", "raw_box", "last_box", "crop", "tight"] = Field(
        default="box", description="read-out that names the boxes"
    )
    objectness: Share = Field(
        default=0.5, description="exponent of a box's own score; that of its class probability is the rest to 1"
    )
    nms_iou: Share | None = Field(
        default=0.5, description="IoU above which the lower of two boxes of a class is dropped; null: none is"
    )
    most: Count | None = Field(default=None, description="detections of an image; null: 100, or 300 for LVIS")


class EvaluateParams(Section):
    """`evaluate`: base and tuned model on all benchmarks, and the annotator."""

    protocol: Annotated[Literal["fgclip2"] | None, NEWER] = Field(
        default=None, description="another paper's protocol for regions, which sets the keys it needs; null: none"
    )
    image_px: Count | None = Field(default=None, description="side of the canvas for whole images; null: the model's")
    resize: Annotated[Literal["squash", "pad"], NEWER] = Field(
        default="squash", description="pad keeps the aspect, as in train.resize"
    )
    batch: Annotated[Count, INDIFFERENT] = Field(default=64, description="images in a forward pass")
    device: Device = "auto"
    dtype: Annotated[Precision, NEWER] = Field(
        default="fp32", description="in which the towers compute; the protocol names it"
    )
    thing_templates: TemplateSet | Annotated[list[Template], Field(min_length=1)] = Field(
        default=["{a} {}"], description="prompts whose embeddings are averaged"
    )
    stuff_templates: TemplateSet | Annotated[list[Template], Field(min_length=1)] = ["{}", "on {}"]
    lower_case: Annotated[bool, NEWER] = Field(default=False, description="embed all texts in lower case")
    readouts: Annotated[list[ReadoutName], NEWER] = Field(
        default=["box", "mask", "crop", "maskout"],
        min_length=1,
        description="ways to read out regions, all of which are measured",
    )
    crowd: Annotated[Literal["leave_out", "keep"], NEWER] = Field(
        default="leave_out", description="crowd regions in region recognition"
    )
    tag_threshold: Annotated[float | None, NEWER] = Field(
        default=None,
        ge=-1,
        le=1,
        description="least cosine of a predicted tag; null: the best by F1 on the other half of the images",
    )
    semantic: Annotated[SemanticParams, NEWER] = SemanticParams()
    cache: Annotated[str | None, INDIFFERENT] = Field(
        default=None, description="folder that caches features of images between runs; null: none"
    )
    resamples: Annotated[int, BESIDE_SCORES] = Field(
        default=1000, ge=0, description="bootstrap draws behind the 95 % intervals; 0: none"
    )
    measure_cost: Annotated[bool, BESIDE_SCORES] = Field(
        default=False, description="time each read-out, into cost.json; its bytes then vary"
    )
    box_share: BoxShare = BOX_SHARE
    crop_px: Count | None = Field(
        default=48, description="side of a region's crop, in whole patches; null: the model's"
    )
    crop_frame: float = Field(default=0.8, gt=0, le=1, description="longer side of the box as a share of a plain crop")
    maskout_frame: float = Field(
        default=0.6, gt=0, le=1, description="the same for a crop whose surroundings are masked out"
    )
    proposal_min_score: Share = Field(
        default=0.05, description="least softmax probability of the best thing of a proposal"
    )
    proposal_min_visible: Share = Field(
        default=0.5, description="least share of a proposal that better proposals do not cover"
    )
    detection: Annotated[DetectionParams, NEWER] = DetectionParams()
    decoder: Annotated[ReadParams, NEWER] = ReadParams()
    match_iou: float = Field(default=0.5, ge=0, lt=1, description="IoU above which a box of the annotator is correct")
    pictures: Annotated[Count, BESIDE_SCORES] = Field(default=6, description="examples in each picture")
