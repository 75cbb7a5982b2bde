"""The sections of `params.yaml` as frozen, closed, typed models: an unknown key or a wrong type ends with its name.

Units are in the names (`_px`, `_s`) or in the field's description.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.annotator_params import CAPABLE, ModelParams, RolesParams, RulesParams, check_roles
from umgclip.errors import ParamsError
from umgclip.ray_params import RayParams
from umgclip.section import Count, Section, Share, Template, Weight
from umgclip.segment_params import ReadParams, SegmentParams


class ImportParams(Section):
    """`data.imports`: how `umgclip data import` stores what it reads."""

    shard_samples: Count = Field(default=1000, description="most samples in a shard")
    shard_mb: Count = Field(default=1000, description="a shard is closed when it has reached this size, MB")
    workers: int = Field(default=0, ge=0, description="processes; 0: one per core; of no effect on the result")
    jpeg_quality: int = Field(default=95, ge=50, le=100, description="of images that have to be written anew")
    max_pixels: int = Field(default=178_956_970, gt=0, le=178_956_970, description="larger images are refused")
    max_image_mb: Count = Field(default=100, description="larger image files are refused")
    mislabelled: Literal["quarantine", "keep"] = Field(
        default="quarantine", description="images of another format than their name says"
    )


class DataParams(Section):
    """`data`: the demo data set that `umgclip data demo` composes, and what is imported."""

    seed: int = 0
    image_px: int = Field(default=96, ge=32, description="side of a scene")
    train_scenes: Count = 2800
    single_share: Share = Field(default=0.4, description="share of training scenes with one thing only")
    max_things: int = Field(default=5, ge=2, le=8)
    background_named: Share = Field(default=0.2, description="share of captions that name the background")
    benchmark_scenes: Count = 400
    benchmark_singles: Count = 294
    shard_samples: Count = 500
    jpeg_quality: int = Field(default=95, ge=50, le=100)
    imports: ImportParams = ImportParams()


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

    seed: int = 0
    pretrained: str = Field(default="scratch", description="scratch | open_clip tag | path of a checkpoint or a folder")
    model: str = Field(default="umgclip-tiny", description="open_clip model name; of no effect for scratch")
    tokenizer: str | None = Field(
        default=None, description="folder with the files of a tokenizer that open_clip lacks (SigLIP); null: the hub"
    )
    tower: TowerParams = TowerParams()
    short_steps: Count = Field(default=120, description="steps on one-concept images before the others join")
    short_batch: Count = 128
    short_px: Count = 48
    full_steps: Count = Field(default=45, description="steps on all images, each followed by two short ones")
    full_batch: Count = 64
    lr_matrix: float = Field(default=3.0e-3, gt=0, description="Muon, for matrices inside blocks")
    lr_other: float = Field(default=1.0e-3, gt=0, description="AdamW, for everything else")
    weight_decay: Weight = 0.05
    tag_weight: Weight = 0.2
    cut_out_share: Share = Field(default=0.6, description="one-concept images shown without their background")
    min_concept_count: Count = Field(default=5, description="captions that must hold a chunk to make it a concept")


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


class ProposerParams(Section):
    """`annotate.proposer`: class-agnostic regions from a segment tree."""

    background_distance: float = Field(default=3.0, gt=0, description="standard deviations from a border colour")
    graph_scale: float = Field(default=120.0, gt=0, description="the k of the graph segmentation; larger joins more")
    min_segment: Share = Field(default=0.003, description="smallest segment as a share of the image")
    min_area: Share = Field(default=0.005, description="smallest region as a share of the image")
    max_area: Share = Field(default=0.7, description="largest region as a share of the image")
    most: Count = Field(default=20, description="regions looked at per image")


class LabelParams(Section):
    """`annotate.label`: how the CLIP teacher reads regions."""

    looks_at_least: Count = Field(default=4, description="things looked at in an image whose caption names none")
    looks_per_noun: Count = Field(default=4, description="more of them for each thing that the caption names")
    crop_px: Count | None = Field(
        default=48, description="side of a region's crop, whole patches; null: the model's own"
    )
    object_share: float = Field(default=0.6, gt=0, le=1, description="region's longer side as a share of its crop")
    fill: Literal["none", "background", "mean"] = Field(default="background", description="outside the region's mask")
    temperature_factor: float = Field(default=0.5, gt=0, description="times the base's logit scale")
    threshold: Share = Field(default=0.1, description="least score of a label")
    stuff_threshold: Share = Field(default=0.3, description="least probability of a background that no caption names")
    overlap: Share = Field(default=0.3, description="share of a region that others may have taken already")
    keep_unlabelled: int = Field(default=3, ge=0, description="proposals kept without a label, for distillation")
    batch: Count = 256
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU if there is one")
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: fp32 on a CPU, bf16 on a GPU that has it, else fp16"
    )


class MaskerParams(Section):
    """`annotate.masker`: GrabCut around labelled things."""

    iterations: Count = 2
    context: float = Field(default=1.4, ge=1, description="crop around the region, times its box")


class AnnotateParams(Section):
    """`annotate`: captions, tags, boxes and masks for raw images."""

    roles: RolesParams = RolesParams()
    models: dict[str, ModelParams] = Field(default={}, description="models beside the built-in ones, by a name")
    engine: Literal["local", "ray"] = Field(default="local", description="processes of this machine, or Ray Data")
    workers: int = Field(default=0, ge=0, description="processes; 0: one per core; of no effect on the result")
    ray: RayParams = RayParams()
    batch: Count = Field(default=16, description="images at once")
    store: str | None = Field(
        default=None, description="folder or s3:// prefix where answers of roles are kept; null: nowhere"
    )
    store_gb: float = Field(default=20.0, gt=0, description="of a folder; what was not used for longest goes first")
    output: str | None = Field(
        default=None, pattern=r"^s3://", description="prefix for annotated shards; null: beside their manifest"
    )
    attempts: Count = Field(default=3, description="times that a batch, then an image, may end its worker")
    min_concept_count: Count = Field(default=5, description="captions that must hold a chunk to make it a concept")
    held_out: list[str] = Field(default=[], description="concepts that are never written as a label of a region")
    caption_threshold: Share = Field(default=0.5, description="least filter score of a written image caption")
    max_failed: Share = Field(default=0.01, description="share of samples that may fail before the run stops")
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
    workers: Literal["auto"] | Count = Field(
        default="auto", description="that decode, per process; auto: 1 on a CPU; of no effect on the result"
    )
    backend: Literal["threads", "processes"] = Field(default="threads", description="what the workers are")


class TrainParams(Section):
    """`train`: the tuning."""

    seed: int = 0
    image_px: Count | None = Field(default=None, description="side of the canvas; null: the model's own")
    resize: Literal["squash", "pad"] = Field(default="squash", description="pad keeps the aspect")
    batch: Count = Field(default=32, description="images a step, of all processes and micro-batches together")
    steps: Count = 280
    lr_peak: float = Field(default=5.0e-3, gt=0)
    warmup_share: Share = 0.05
    weight_decay: Weight = 0.01
    grad_clip: float = Field(default=1.0, gt=0, description="largest norm of all gradients together")
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="of the averaged weights that are saved; 0: none")
    regions_per_image: Count = 8
    written_caption_share: Share = Field(default=0.3, description="captions by the annotator instead of alt text")
    min_window: Share = Field(default=1.0, description="least side of the random part of an image, of its own side")
    relight: Share = Field(default=0.0, description="largest relative change of contrast")
    max_failed: Share = Field(default=0.01, description="share of samples that may be unreadable before the run stops")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one")
    processes: Literal["auto"] | Count = Field(default="auto", description="auto: one per GPU, 1 on a CPU")
    parallel: Literal["ddp", "fsdp2"] = Field(default="ddp", description="what several processes share")
    accumulate: Count = Field(default=1, description="micro-batches that a process's part of a batch is computed in")
    checkpoint_activations: bool = Field(default=False, description="compute blocks twice instead of keeping them")
    compile: bool = Field(default=False, description="torch.compile")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: bf16 where it is native; fp16 on a GPU without it"
    )
    checkpoint_every: Count = Field(default=100, description="steps")
    adapter: Literal["lora", "convpass", "full"] = Field(default="lora", description="what learns")
    loader: LoaderParams = LoaderParams()
    lora: LoraParams = LoraParams()
    convpass: ConvpassParams = ConvpassParams()
    full: FullParams = FullParams()
    weights: LossWeights = LossWeights()


RuleName = Literal[
    "image_key_present",
    "image_sha256_present",
    "image_sha256_format",
    "image_width_present",
    "image_height_present",
    "image_width_range",
    "image_height_range",
    "image_caption_present",
    "image_caption_length",
    "image_caption_clean",
    "image_caption_loop",
    "image_caption_score_range",
    "image_tag_score_range",
    "image_tags_known",
    "region_key_present",
    "region_id_present",
    "region_box_present",
    "region_flags_present",
    "region_score_present",
    "region_box_x_order",
    "region_box_y_order",
    "region_box_left",
    "region_box_top",
    "region_box_right",
    "region_box_bottom",
    "region_score_range",
    "region_label_present",
    "region_label_score_range",
    "region_label_known",
    "region_label_held_out",
    "region_caption_length",
    "region_caption_clean",
    "region_caption_loop",
    "region_caption_score_range",
    "region_mask_present",
    "region_mask_area",
    "region_mask_in_box",
    "image_key_unique",
    "image_content_unique",
    "image_not_in_benchmark",
    "region_id_unique",
    "region_has_image",
    "label_score_mean",
    "labelled_image_share",
    "annotated_image_share",
]


class ValidateParams(Section):
    """`validate`: what counts as a bad row, and how many of them are too many."""

    tolerance: Share = Field(default=0.01, description="share of failing rows that a critical rule lets through")
    tolerances: dict[RuleName, Share] = Field(default={}, description="the same for single rules, by name")
    chunk_rows: Count = Field(default=1_000_000, description="rows of a table in memory at once")
    side_min_px: Count = 16
    side_max_px: Count = 20_000
    mask_slack_px: Weight = Field(default=1.0, description="how far a mask may reach out of its box")
    image_caption_words_min: Count = 1
    image_caption_words_max: Count = 100
    region_caption_words_min: Count = 1
    region_caption_words_max: Count = 50
    phrase_repeats_max: Count = Field(default=2, description="times that a phrase may follow itself in a caption")
    label_score_mean_min: Share = Field(default=0.1, description="of all labelled regions")
    label_score_mean_max: Share = 1.0
    labelled_image_share_min: Share = Field(default=0.5, description="images with at least one labelled region")
    annotated_image_share_min: Share = Field(default=0.9, description="images that annotation did not have to drop")

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> ValidateParams:
        for name in ("side_min_px", "image_caption_words_min", "region_caption_words_min", "label_score_mean_min"):
            upper = name.replace("_min", "_max")
            if getattr(self, name) > getattr(self, upper):
                raise ValueError(f"expected {name} <= {upper}, got {getattr(self, name)} > {getattr(self, upper)}")
        return self


class SemanticParams(Section):
    """`evaluate.semantic`: how images are read for semantic segmentation."""

    window_px: Count | None = Field(default=None, description="side of windows slid over the image; null: whole images")
    stride_px: Count | None = Field(default=None, description="from a window to the next; null: windows do not overlap")
    short_px: Count | None = Field(
        default=None, description="shorter side of the image under windows; null: a window's"
    )
    background: str | None = Field(default=None, description="class that takes what no other class is sure of")
    background_threshold: Share = Field(default=0.5, description="least softmax probability of a class that is none")

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
    "last_box",
    "last_mask",
    "surgery_box",
    "surgery_mask",
    "foveal",
]
TemplateSet = Literal["simple", "openai80", "manifest"]


class EvaluateParams(Section):
    """`evaluate`: base and tuned model on six benchmarks, and the annotator."""

    image_px: Count | None = Field(default=None, description="side of the canvas for whole images; null: the model's")
    resize: Literal["squash", "pad"] = Field(default="squash", description="pad keeps the aspect, as in train.resize")
    batch: Count = Field(default=64, description="images a forward; of no effect on the numbers")
    thing_templates: TemplateSet | Annotated[list[Template], Field(min_length=1)] = Field(
        default=["{a} {}"], description="embeddings averaged"
    )
    stuff_templates: TemplateSet | Annotated[list[Template], Field(min_length=1)] = ["{}", "on {}"]
    readouts: list[ReadoutName] = Field(
        default=["box", "mask", "crop", "maskout"], min_length=1, description="ways to read regions, side by side"
    )
    crowd: Literal["leave_out", "keep"] = Field(default="leave_out", description="crowd regions in region recognition")
    tag_threshold: float | None = Field(
        default=None, ge=-1, le=1, description="cosine of a tag that is said; null: best F1 of the other half of images"
    )
    semantic: SemanticParams = SemanticParams()
    cache: str | None = Field(default=None, description="folder that keeps features of images between runs; null: none")
    resamples: int = Field(default=1000, ge=0, description="bootstrap draws behind the 95 % intervals; 0: none")
    measure_cost: bool = Field(default=False, description="time each read-out, into cost.json; its bytes then vary")
    crop_px: Count | None = Field(
        default=48, description="side of a region's crop, whole patches; null: the model's own"
    )
    crop_frame: float = Field(default=0.8, gt=0, le=1, description="box's longer side as a share of a plain crop")
    maskout_frame: float = Field(default=0.6, gt=0, le=1, description="the same for a crop with the rest masked out")
    proposal_min_score: Share = Field(default=0.05, description="least softmax probability of a proposal's best thing")
    proposal_min_visible: Share = Field(default=0.5, description="least share of a proposal that better ones leave")
    decoder: ReadParams = ReadParams()
    match_iou: float = Field(default=0.5, ge=0, lt=1, description="IoU above which an annotator's box is right")
    pictures: Count = Field(default=6, description="examples in each picture")


class GateParams(Section):
    """When the alias `champion` moves. Metrics are named as in `metrics/evaluate.json`, all of them shares of 1."""

    floors: dict[str, float] = Field(default={}, description="metric: least value")
    max_regression: dict[str, Weight] = Field(
        default={"classification.top1": 0.05, "retrieval.i2t_r1": 0.03, "retrieval.t2i_r1": 0.03},
        description="metric: most that may be lost against the champion",
    )
    metrics: list[str] = Field(
        default=["retrieval.i2t_r1", "retrieval.t2i_r1", "region.mask_top1", "semantic.miou"],
        description="metrics whose mean gain over the champion counts",
    )
    min_mean_gain: float = Field(default=1.0e-3, description="least mean gain over the champion")
    min_gain_over_base: dict[str, float] = Field(
        default={"region.mask_top1": 0.05, "semantic.miou": 0.02},
        description="metric: least gain of tuned over base, asked only while there is no champion",
    )
    max_latency_ratio: float | None = Field(
        default=None, gt=0, description="most that answering may take, over the champion's time; null: not measured"
    )


class RegisterParams(Section):
    """`register`: the tuned model as a version in MLflow's registry."""

    name: str = Field(default="umgclip", pattern=r"^[A-Za-z0-9_.-]+$")
    include_base_weights: bool | None = Field(
        default=None, description="null: yes, unless open_clip can fetch them again by base.pretrained"
    )
    template: Template = Field(default="{a} {}", description="prompt around a label in requests to the model")
    promote: bool = Field(default=True, description="false: say what the gates would do and leave `champion` alone")
    gates: GateParams = GateParams()


SECTIONS: dict[str, type[Section]] = {
    "data": DataParams,
    "base": BaseParams,
    "annotate": AnnotateParams,
    "validate": ValidateParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "register": RegisterParams,
    "segment": SegmentParams,
}
S = TypeVar("S", bound=Section)


def read_params(path: Path) -> dict[str, Any]:
    """All of `params.yaml` as plain values.

    Raises:
        ParamsError: no such file, no YAML, or sections that are not known.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: expected a parameter file, found none; run from the repository's root or --params")
    try:
        with path.open(encoding="utf-8") as handle:
            content = YAML(typ="safe").load(handle)
    except YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, got {type(content).__name__}")
    for name in content:
        if name not in SECTIONS:
            raise ParamsError(f"{path}: unknown section {name!r}; expected one of {', '.join(SECTIONS)}")
    return content


def load_section(path: Path, kind: type[S]) -> S:
    """One section of `params.yaml`; every other section is checked too.

    Raises:
        ParamsError: naming the key, what was expected and what came.
    """
    parsed = parse_sections(read_params(path), path)
    section = parsed[next(name for name, model in SECTIONS.items() if model is kind)]
    assert isinstance(section, kind)  # noqa: S101 - for the type checker
    return section


def parse_sections(content: Mapping[str, Any], path: Path) -> dict[str, Section]:
    """Every section of what a parameter file holds; `path` stands before the messages.

    Raises:
        ParamsError: naming the key, what was expected and what came.
    """
    return {name: _parse(path, name, model, content.get(name)) for name, model in SECTIONS.items()}


def _parse(path: Path, name: str, model: type[Section], value: Any) -> Section:  # noqa: ANN401 - what YAML held
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise ParamsError("\n".join(_explain(path, name, model, e) for e in error.errors())) from error


def _explain(path: Path, name: str, model: type[BaseModel], error: Any) -> str:  # noqa: ANN401 - pydantic's dict
    where = ".".join([name, *(str(part) for part in error["loc"])])
    if error["type"] == "extra_forbidden":
        owner: Any = model
        for part in error["loc"][:-1]:
            owner = owner.model_fields[part].annotation if hasattr(owner, "model_fields") else None
        allowed = ", ".join(sorted(owner.model_fields)) if hasattr(owner, "model_fields") else "?"
        return f"{path}: unknown key {where}; expected one of {allowed}"
    return f"{path}: {where}: {error['msg']}, got {error['input']!r}"


def threads() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
