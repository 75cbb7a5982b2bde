"""`segment`: the section of the decoder for segmentation, which is trained on the frozen tuned tower."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from umgclip.params.section import Count, LearningParams, Positive, Section, Share, Template, Weight


class DecoderParams(Section):
    """`segment.decoder`: pyramid, pixel decoder and transformer decoder (Mask2Former, Cheng et al., CVPR 2022)."""

    queries: Count = Field(default=64, description="most segments in an image, a square: places that they start from")
    width: int = Field(default=64, ge=32, multiple_of=32, description="channels")
    heads: Count = 4
    feedforward: Count = Field(default=256, description="channels between the two layers of each MLP")
    encoder_layers: Count = Field(default=2, description="of the pixel decoder: deformable attention over three levels")
    decoder_layers: Count = Field(default=3, description="of masked attention")
    pixel_stem: bool = Field(default=True, description="convolutions over the image itself sharpen the finest levels")

    @model_validator(mode="after")
    def _fits(self) -> DecoderParams:
        if math.isqrt(self.queries) ** 2 != self.queries:
            raise ValueError(f"expected queries to be a square number, got {self.queries}")
        if self.width % self.heads:
            raise ValueError(f"expected width in multiples of heads ({self.heads}), got {self.width}")
        return self


class ReadParams(Section):
    """`evaluate.decoder`: how a decoder's queries become segments."""

    exponent_seen: Share = Field(default=0.2, description="weight of the frozen tower, for names of training masks")
    exponent_unseen: Share = Field(default=0.6, description="the same for all other names")
    min_score: Share = Field(default=0.15, description="least score of a mask")
    min_visible: Share = Field(default=0.6, description="least share of a mask that better ones leave")


class SegmentWeights(Section):
    """`segment.weights`: of the losses, and of matching."""

    label: Weight = Field(default=2.0, description="cross-entropy over the names and `no object`")
    mask: Weight = Field(default=5.0, description="binary cross-entropy of sampled points")
    dice: Weight = 5.0
    no_object: Share = Field(default=0.1, description="weight of queries without a segment; with hungarian only")


class SegmentParams(LearningParams):
    """`segment`: the decoder for segmentation; not part of the default pipeline."""

    batch: Count = 8
    steps: Count = 2500
    lr_peak: Positive = 4.0e-3
    weight_decay: Weight = 0.05
    grad_clip: Positive = 5.0
    min_window: Share = 0.9
    relight: Share = 0.1
    precision: Literal["auto", "fp32", "bf16"] = Field(default="fp32", description="auto: bf16 where it is native")
    labels_per_step: Count = Field(default=512, description="most names that a step's classifier has")
    matching: Literal["places", "hungarian"] = Field(
        default="places", description="which query learns which mask: those that start in it, or the best as a whole"
    )
    unnamed: bool = Field(default=True, description="learn masks from regions without a name too; with places only")
    points: Count = Field(default=512, description="places at which a mask is compared")
    adapter: Literal["none", "convpass", "lora"] = Field(
        default="none", description="what learns in a copy of the tower that the pyramid reads"
    )
    adapter_rank: Count = Field(default=8, description="channels of Convpass, rank of LoRA")
    decoder: DecoderParams = DecoderParams()
    weights: SegmentWeights = SegmentWeights()
    thing_templates: list[Template] = Field(default=["{a} {}"], min_length=1, description="embeddings averaged")
    stuff_templates: list[Template] = Field(default=["{}", "on {}"], min_length=1)
