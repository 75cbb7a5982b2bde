"""`train`: the tuning of the base with all grains of annotation."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from umgclip.params.section import (
    FILE,
    INDIFFERENT,
    VIA_STREAMS,
    Count,
    LearningParams,
    Positive,
    Section,
    Share,
    Weight,
)


class LoraParams(Section):
    """`train.lora`: low-rank adapters in the blocks of the towers."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    text_tower: bool = Field(default=True, description="false: the text tower is frozen, and no text is encoded twice")


class ConvpassParams(Section):
    """`train.convpass`: convolutions over the token grid next to each block of the image tower.

    The text tower stays as it is.
    """

    hidden: Count = Field(default=8, description="channels of the branch")
    scale: float = Field(default=1.0, gt=0, description="factor on the output of the branch")
    dropout: Share = 0.1


class FullParams(Section):
    """`train.full`: training of all weights without an adapter."""

    text_tower: bool = Field(default=True, description="false: the text tower is frozen, and no text is encoded twice")
    blocks: Count | None = Field(
        default=None, description="last blocks of the image tower that learn, and nothing else of it; null: all of it"
    )


class ClusteringParams(Section):
    """`train.clustering`: the middle blocks of a ViT run on clusters of tokens (Expedit, NeurIPS 2022)."""

    after_block: Count = Field(description="blocks that run on all tokens; the rest but the last run on clusters")
    grid: Count | Annotated[list[Count], Field(min_length=2, max_length=2)] = Field(
        description="clusters along both sides, or rows and columns; an image of fewer tokens is not clustered"
    )
    iterations: Annotated[int, Field(ge=0)] = Field(
        default=5, description="updates of the clusters; 0: plain average pooling"
    )
    temperature: Positive = Field(default=0.1, description="factor on the squared distances under both softmaxes")
    neighbours: Count = Field(default=20, description="clusters that a token is read from again")

    @property
    def rows_columns(self) -> tuple[int, int]:
        """The number of clusters along each side: rows, then columns."""
        return (self.grid, self.grid) if isinstance(self.grid, int) else (self.grid[0], self.grid[1])


class WindowsParams(Section):
    """`train.windows`: self-distillation from overlapping windows of the model's own side (SPAR)."""

    stride_px: Count | None = Field(
        default=None, description="from a window to the next, on purpose no multiple of the patch; null: 1.5 patches"
    )
    upsample: Count | None = Field(
        default=None, description="of windows' maps before they are averaged; null: the least that fits the stride"
    )
    sides: Annotated[list[Count], Field(min_length=1)] | None = Field(
        default=None, description="of the student's image, one drawn a step; null: 1.5, 2 and 3 times the model's"
    )
    least_crop: Annotated[Share, Field(gt=0)] = Field(
        default=0.4, description="side of the smallest random crop, as a share of the image's shorter side"
    )
    fixed_crops: bool = Field(
        default=False, description="one crop for an image and a side, so that the teacher's maps can be kept"
    )
    cache: Annotated[str | None, INDIFFERENT] = Field(
        default=None, description="folder for the teacher's maps, for fixed_crops; null: computed each time"
    )
    cache_gib: Annotated[Positive, INDIFFERENT] = Field(default=50.0, description="size of the folder at most")
    at_once: Annotated[Count, INDIFFERENT] = Field(default=64, description="windows in a forward of the teacher")

    @model_validator(mode="after")
    def _maps_come_back(self) -> WindowsParams:
        if self.cache is not None and not self.fixed_crops:
            raise ValueError("cache: expected fixed_crops true beside it, as no other crop comes twice; got false")
        return self


class PatchEmaParams(Section):
    """`train.patch_ema`: all-patch self-distillation against a moving average (iBOT++)."""

    mask_share: Share = Field(default=0.75, description="patches that the student does not see")
    average: Literal["tower", "head"] = Field(
        default="tower", description="what the teacher averages; head: its tower is the student's, as in TIPSv2"
    )
    decay: float = Field(default=0.996, ge=0, lt=1, description="of the moving averages a step")
    prototypes: Count = 4096
    hidden: Count = Field(default=1024, description="width of the head's MLP")
    bottleneck: Count = Field(default=256, description="dimension in which cells and prototypes are compared")
    student_temperature: Positive = 0.1
    teacher_temperature: Positive = Field(default=0.07, description="lower is sharper")
    centre_decay: float = Field(default=0.9, ge=0, lt=1, description="of the mean that teacher logits are centred by")
    lr_factor: Positive = Field(default=1.0, description="learning rate of head and mask token, of the tower's")


Condition = Literal["class", "class_random", "class_all", "class_half", "pooled"]


class DenoiserParams(Section):
    """`train.diffusion.denoiser`: sizes of the small network that reconstructs images."""

    width: Count = Field(default=256, description="numbers in a token; a multiple of 4 x heads")
    heads: Count = 4
    double_blocks: Count = 2
    single_blocks: Count = 4


class DiffusionParams(Section):
    """`train.diffusion`: reconstruction of images from the image tower's tokens, for `train.weights.diffusion`."""

    condition: Condition = Field(
        default="class", description="tokens that the reconstruction is given; class: the global embedding alone"
    )
    image_px: Count = Field(default=64, description="side of the reconstructed image")
    patch_px: Count = Field(default=8, description="side of a patch of pixels; of no effect on latents")
    first_share: Share = Field(
        default=0.9, description="share of the steps in which the reconstruction learns and gives the tower no gradient"
    )
    freeze: bool = Field(default=True, description="the denoiser stays as it is while the tower learns from it")
    denoiser_lr: Positive = Field(default=1.0e-4, description="peak of the learning rate of what is not the tower")
    time_scale: Positive = Field(default=1.0, description="deviation of the logit of the time")
    denoiser: DenoiserParams = DenoiserParams()
    vae: Annotated[str | None, FILE] = Field(
        default=None, description="folder of an autoencoder whose latents are reconstructed; null: pixels"
    )
    pretrained: Annotated[str | None, FILE] = Field(
        default=None, description="folder of a diffusion model that stays as it is; null: the denoiser learns"
    )


class LossWeights(Section):
    """`train.weights`: a weight of 0 removes the term and its cost."""

    image_text: Weight = 1.0
    tags: Weight = 0.1
    region_text: Weight = 1.0
    region_tags: Weight = Field(default=2.0, description="each tag is seen in some region of its image")
    pixel: Weight = 1.0
    hard_negatives: Weight = Field(default=0.0, description="a region's text against wrong ones that look right")
    cmr: Weight = Field(default=0.0, description="a region's text before wrong ones by the usual margin")
    tic: Weight = Field(default=0.0, description="region texts away from the texts nearest to them")
    long_text: Weight = Field(default=0.0, description="images against their long captions")
    distill: Weight = Field(default=4.0, description="dense features to the base's embeddings of region crops")
    relational: Weight = Field(
        default=0.0, description="regions are as close to each other's crops as their own crops are"
    )
    keep: Weight = Field(default=0.5, description="image embedding to the base's own")
    windows: Weight = Field(
        default=0.0, description="the whole image's dense map to the mean map of the base's overlapping windows"
    )
    patch_ema: Weight = Field(default=0.0, description="cells of a masked image to a moving average's of the whole one")
    diffusion: Weight = Field(default=0.0, description="reconstruction of the image from the global embedding")


class LoaderParams(Section):
    """`train.loader`: how samples reach the optimizer."""

    streams: Literal["auto"] | Count = Field(
        default="auto", description="parallel orders of samples; auto: one for each process"
    )
    workers: Annotated[Literal["auto"] | Count, INDIFFERENT] = Field(
        default="auto", description="decoding workers of a process; auto: 1 on a CPU"
    )
    backend: Annotated[Literal["threads", "processes"], INDIFFERENT] = Field(
        default="threads", description="whether the workers are threads or processes"
    )


class ResolutionStage(Section):
    """One of `train.stages`: consecutive steps at one side of the canvas."""

    image_px: Count = Field(description="side of the canvas, a multiple of the patch")
    steps: Count | None = Field(default=None, description="steps of this stage; null: by its share")
    share: Share | None = Field(default=None, description="share of train.steps; null: by its steps")
    batch: Count | None = Field(default=None, description="images in a step; null: train.batch")
    lr_factor: Positive = Field(default=1.0, description="factor on the learning rate of the schedule")


class TrainParams(LearningParams):
    """`train`: the tuning of the base with all grains of annotation."""

    batch: Count = 32
    steps: Count = 300
    stages: list[ResolutionStage] = Field(
        default=[], description="resolutions of one run, one after the other; their steps add up to train.steps"
    )
    mixture: dict[str, Weight] = Field(
        default={}, description="how often a sample of each imported dataset comes, relative to the others; by name"
    )
    lr_peak: Positive | Literal["auto"] = Field(
        default="auto", description="peak of the learning rate; auto: by adapter and base, scratch or pretrained"
    )
    weight_decay: Weight = 0.01
    grad_clip: Positive = 1.0
    min_window: Share = 1.0
    relight: Share = 0.0
    ema_decay: float = Field(
        default=0.0, ge=0, lt=1, description="decay of the averaged weights that are saved; 0: no average"
    )
    regions_per_image: Count = 8
    written_caption_share: Share = Field(
        default=0.3, description="share of captions by the annotator instead of the alt text"
    )
    text_of_region: Literal["first", "random"] = Field(
        default="first", description="which of a region's captions and tags a step looks at"
    )
    long_caption_words: Count = Field(
        default=25, description="captions of as many words are long; with weights.long_text they have their own term"
    )
    joint_threshold: Share | None = Field(
        default=None,
        description="region texts with a larger cosine count as the same text; null: only equal tokens do",
    )
    processes: Annotated[Literal["auto"] | Count, VIA_STREAMS] = Field(
        default="auto", description="auto: one per GPU, 1 on a CPU"
    )
    # the way a batch is computed; the loss is the same up to rounding
    parallel: Annotated[Literal["ddp", "fsdp2"], INDIFFERENT] = Field(
        default="ddp", description="what several processes share: gradients, or weights as well"
    )
    accumulate: Annotated[Count, INDIFFERENT] = Field(
        default=1, description="micro-batches into which a process divides its part of a batch"
    )
    checkpoint_activations: Annotated[bool, INDIFFERENT] = Field(
        default=False, description="recompute activations of blocks in the backward pass instead of storing them"
    )
    compile: Annotated[bool, INDIFFERENT] = Field(default=False, description="torch.compile")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: bf16 where the hardware supports it; fp16 on a GPU without it"
    )
    adapter: Literal["auto", "lora", "convpass", "full"] = Field(
        default="auto",
        description="weights that are trained; auto: lora if the base has linear layers for it, else convpass",
    )
    dense_reach: int = Field(
        default=0,
        ge=0,
        le=64,
        description="cells around itself that a token of the dense map looks at in the last block; 0: itself only",
    )
    clustering: ClusteringParams | None = Field(
        default=None, description="token clustering for high resolution, which the tuned model keeps; null: none"
    )
    loader: Annotated[LoaderParams, VIA_STREAMS] = LoaderParams()
    lora: LoraParams = LoraParams()
    convpass: ConvpassParams = ConvpassParams()
    full: FullParams = FullParams()
    diffusion: DiffusionParams = DiffusionParams()
    weights: LossWeights = LossWeights()
    windows: WindowsParams = WindowsParams()
    patch_ema: PatchEmaParams = PatchEmaParams()

    @field_validator("stages")
    @classmethod
    def _stages_are_the_whole_run(
        cls,
        stages: list[ResolutionStage],
        info: Any,  # noqa: ANN401 - pydantic's ValidationInfo, which beartype cannot check
    ) -> list[ResolutionStage]:
        """Refuse stages that contradict `steps` or `image_px`, which other code reads as those of the whole run."""
        if not stages:
            return stages
        steps, image_px = info.data.get("steps"), info.data.get("image_px")
        by_steps = [stage.steps for stage in stages if stage.steps is not None]
        shares = [stage.share for stage in stages if stage.share is not None]
        if sorted((len(by_steps), len(shares))) != [0, len(stages)]:
            raise ValueError("expected steps in every stage, or a share in every stage")
        if shares and not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise ValueError(f"expected the shares to add up to 1, not to {sum(shares):g}")
        if by_steps and steps is not None and steps != sum(by_steps):
            total = sum(by_steps)
            raise ValueError(f"expected the steps to add up to train.steps, {steps}; set train.steps to {total}")
        if image_px is not None:
            raise ValueError(f"expected a train.image_px of null beside stages, which have their own, not {image_px}")
        return stages

    @property
    def stage_steps(self) -> list[int]:
        """The steps of each of `stages`; a small share of few steps may be none."""
        ends = [round(end * self.steps) for end in accumulate(stage.share or 0.0 for stage in self.stages)]
        by_share = [end - start for start, end in pairwise([0, *ends])]
        return [share if one.steps is None else one.steps for one, share in zip(self.stages, by_share, strict=True)]

    @property
    def images_shown(self) -> int:
        """The number of images that all steps show together."""
        if not self.stages:
            return self.steps * self.batch
        pairs = zip(self.stages, self.stage_steps, strict=True)
        return sum(steps * (stage.batch or self.batch) for stage, steps in pairs)
