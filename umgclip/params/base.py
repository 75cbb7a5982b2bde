"""`base`: the CLIP to start from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from umgclip.params.section import FILE, Count, Device, Precision, Section, Seed, Share, Weight

SCRATCH = "scratch"  # value of `pretrained` for the small model that the stage `base` trains


class TowerParams(Section):
    """The small open_clip model that `base.pretrained: scratch` trains."""

    image_px: int = 96
    patch_px: int = 12
    width: int = 192
    layers: int = 4
    heads: int = 6
    text_width: int = 192
    text_layers: int = 2
    text_heads: int = 4
    context_length: int = 32
    embed_dim: int = 192


class BaseParams(Section):
    """`base`: the CLIP to start from."""

    seed: Seed = 0
    pretrained: Annotated[str, FILE] = Field(
        default=SCRATCH, description="scratch | open_clip tag | path of a checkpoint or a folder"
    )
    model: str = Field(default="umgclip-tiny", description="open_clip model name; of no effect for scratch")
    quick_gelu: bool | Literal["auto"] = Field(
        default="auto",
        description="activation of both towers; auto: by the name, the tag or a config next to the weights",
    )
    positions: Literal["auto", "antialiased", "plain", "bilinear"] = Field(
        default="auto",
        description="resize of positions to other grids: bicubic, antialiased or plain, or bilinear, antialiased; "
        "auto: as the authors of the weights do",
    )
    text_positions: Literal["original", "stretched", "short"] = Field(
        default="original",
        description="length of texts: the model's own; stretched: the first 20 positions stay, the others are "
        "interpolated (Long-CLIP); short: without the second path for long texts that some models have (FG-CLIP)",
    )
    context_length: Count | None = Field(
        default=None,
        description="tokens of the longest text if positions are stretched; null: 20 + 4 x (own length - 20), which is "
        "248 for a CLIP",
    )
    tokenizer: Annotated[str | None, FILE] = Field(
        default=None, description="folder with the files of a tokenizer that open_clip lacks (SigLIP); null: the hub"
    )
    device: Device = Field(default="auto", description="device on which scratch trains; auto: a GPU if there is one")
    dtype: Precision = Field(default="fp32", description="precision in which scratch computes; its weights are float32")
    tower: TowerParams = TowerParams()
    short_steps: Count = Field(default=120, description="steps on one-concept images before the others join")
    short_batch: Count = 128
    short_px: Count = 48
    full_steps: Count = Field(default=45, description="steps on all images, each followed by two short ones")
    full_batch: Count = 64
    lr_matrix: float = Field(default=3.0e-3, gt=0, description="learning rate of Muon, for matrices inside blocks")
    lr_other: float = Field(default=1.0e-3, gt=0, description="learning rate of AdamW, for everything else")
    weight_decay: Weight = 0.05
    tag_weight: Weight = 0.2
    cut_out_share: Share = Field(
        default=0.6, description="share of one-concept images that are shown without their background"
    )
    min_concept_count: Count | Literal["auto"] = Field(
        default="auto",
        description="captions that must contain a noun chunk to make it a concept; auto: 5, fewer in small sets",
    )
    language: Literal["en", "none"] = Field(
        default="en", description="language of captions; none: only the concepts of `vocabulary`"
    )
    vocabulary: Annotated[str | None, FILE] = Field(
        default=None, description="file with concepts and synonyms in addition to the mined ones"
    )

    @model_validator(mode="after")
    def _length_of_stretched_texts_only(self) -> BaseParams:
        if self.context_length is not None and self.text_positions != "stretched":
            raise ValueError(
                f"context_length: expected null, or text_positions: stretched, got {self.context_length}; "
                "of scratch it is tower.context_length"
            )
        return self
