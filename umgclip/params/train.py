"""`train`: the tuning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from umgclip.params.section import INDIFFERENT, Count, LearningParams, Positive, Section, Share, Weight


class LoraParams(Section):
    """Low-rank adapters."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    text_tower: bool = Field(default=True, description="false: frozen, and no text is encoded twice")


class ConvpassParams(Section):
    """Convolutions over the token grid beside each block of the image tower; the text tower stays as it is."""

    hidden: Count = Field(default=8, description="channels of the branch")
    scale: float = Field(default=1.0, gt=0, description="factor of what the branch adds")
    dropout: Share = 0.1


class FullParams(Section):
    """Everything learns."""

    text_tower: bool = Field(default=True, description="false: frozen, and no text is encoded twice")


class LossWeights(Section):
    """`train.weights`: a weight of 0 removes the term and its cost."""

    image_text: Weight = 1.0
    tags: Weight = 0.1
    region_text: Weight = 1.0
    region_tags: Weight = Field(default=2.0, description="each tag seen in some region of its image")
    pixel: Weight = 1.0
    distill: Weight = Field(default=4.0, description="dense features to the base's embeddings of region crops")
    relational: Weight = Field(default=0.0, description="regions as near to each other's crops as their own crops are")
    keep: Weight = Field(default=0.5, description="image embedding to the base's own")


class LoaderParams(Section):
    """`train.loader`: how samples reach the optimizer."""

    streams: Literal["auto"] | Count = Field(
        default="auto", description="orders that samples come in side by side; auto: one per process"
    )
    workers: Annotated[Literal["auto"] | Count, INDIFFERENT] = Field(
        default="auto", description="that decode, per process; auto: 1 on a CPU"
    )
    backend: Annotated[Literal["threads", "processes"], INDIFFERENT] = Field(
        default="threads", description="what the workers are"
    )


class TrainParams(LearningParams):
    """`train`: the tuning."""

    batch: Count = 32
    steps: Count = 300
    lr_peak: Positive | Literal["auto"] = Field(
        default="auto", description="of the learning rate; auto: by the base, from scratch or pretrained, and adapter"
    )
    weight_decay: Weight = 0.01
    grad_clip: Positive = 1.0
    min_window: Share = 1.0
    relight: Share = 0.0
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="of the averaged weights that are saved; 0: none")
    regions_per_image: Count = 8
    written_caption_share: Share = Field(default=0.3, description="captions by the annotator instead of alt text")
    processes: Literal["auto"] | Count = Field(default="auto", description="auto: one per GPU, 1 on a CPU")
    # how a batch is computed, not what: the loss is the same up to rounding
    parallel: Annotated[Literal["ddp", "fsdp2"], INDIFFERENT] = Field(
        default="ddp", description="what several processes share"
    )
    accumulate: Annotated[Count, INDIFFERENT] = Field(
        default=1, description="micro-batches that a process's part of a batch is computed in"
    )
    checkpoint_activations: Annotated[bool, INDIFFERENT] = Field(
        default=False, description="compute blocks twice instead of keeping them"
    )
    compile: Annotated[bool, INDIFFERENT] = Field(default=False, description="torch.compile")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: bf16 where it is native; fp16 on a GPU without it"
    )
    adapter: Literal["auto", "lora", "convpass", "full"] = Field(
        default="auto", description="what learns; auto: lora where the base has linear layers for it, else convpass"
    )
    loader: LoaderParams = LoaderParams()
    lora: LoraParams = LoraParams()
    convpass: ConvpassParams = ConvpassParams()
    full: FullParams = FullParams()
    weights: LossWeights = LossWeights()
