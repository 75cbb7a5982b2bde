"""`segment`: the decoder for segmentation, which is trained on the frozen tuned tower."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from umgclip.params.section import Count, LearningParams, Positive, Section, Share, Template, Weight


class DecoderParams(Section):
    """`segment.decoder`: pyramid, pixel decoder and transformer decoder (Mask2Former, Cheng et al., CVPR 2022)."""

    queries: Count = Field(
        default=64, description="most segments in an image, a square number: the positions that they start from"
    )
    width: int = Field(default=64, ge=32, multiple_of=32, description="channels")
    heads: Count = 4
    feedforward: Count = Field(default=256, description="channels between the two layers of each MLP")
    encoder_layers: Count = Field(
        default=2, description="layers of the pixel decoder: deformable attention over three levels"
    )
    decoder_layers: Count = Field(default=3, description="layers of masked attention")
    pixel_stem: bool = Field(
        default=True, description="sharpen the finest levels by convolutions over the image itself"
    )

    @model_validator(mode="after")
    def _fits(self) -> DecoderParams:
        if math.isqrt(self.queries) ** 2 != self.queries:
            raise ValueError(f"expected queries to be a square number, got {self.queries}")
        if self.width % self.heads:
            raise ValueError(f"expected width in multiples of heads ({self.heads}), got {self.width}")
        return self


class ReadParams(Section):
    """`evaluate.decoder`: how a decoder's queries become segments."""

    exponent_seen: Share = Field(default=0.2, description="weight of the frozen tower for names of training masks")
    exponent_unseen: Share = Field(default=0.6, description="the same for all other names")
    min_score: Share = Field(default=0.15, description="least score of a mask")
    min_visible: Share = Field(default=0.6, description="least share of a mask that better masks do not cover")


class SegmentWeights(Section):
    """`segment.weights`: the weights of the losses and of matching."""

    label: Weight = Field(default=2.0, description="cross-entropy over the names and `no object`")
    mask: Weight = Field(default=5.0, description="binary cross-entropy of sampled points")
    dice: Weight = 5.0
    no_object: Share = Field(
        default=0.1, description="weight of queries without a segment; only with matching: hungarian"
    )


class SegmentParams(LearningParams):
    """`segment`: the training of the decoder for segmentation; not part of the default pipeline."""

    batch: Count = 8
    steps: Count = 2500
    lr_peak: Positive = 4.0e-3
    weight_decay: Weight = 0.05
    grad_clip: Positive = 5.0
    min_window: Share = 0.9
    relight: Share = 0.1
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="fp32", description="auto: bf16 if the hardware supports it"
    )
    labels_per_step: Count = Field(default=512, description="most names in the classifier of a step")
    matching: Literal["places", "hungarian"] = Field(
        default="places",
        description="which query learns which mask: the queries that start in it, or the best assignment",
    )
    unnamed: bool = Field(
        default=True, description="also learn masks from regions without a name; only with matching: places"
    )
    points: Count = Field(default=512, description="points at which a mask is compared")
    adapter: Literal["none", "convpass", "lora"] = Field(
        default="none", description="adapter that is trained in a copy of the tower, which the pyramid reads"
    )
    adapter_rank: Count = Field(default=8, description="channels of Convpass, rank of LoRA")
    decoder: DecoderParams = DecoderParams()
    weights: SegmentWeights = SegmentWeights()
    thing_templates: list[Template] = Field(
        default=["{a} {}"], min_length=1, description="prompts whose embeddings are averaged"
    )
    stuff_templates: list[Template] = Field(default=["{}", "on {}"], min_length=1)
