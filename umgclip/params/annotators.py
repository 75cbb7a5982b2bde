"""`annotate.models`: the parameters of each kind of model, and the roles that it may fill.

A new kind is a subclass of `AnnotatorParams` in the union `ModelParams`, and a row of `umgclip.annotate.catalog`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from umgclip.params.annotator_kind import AnnotatorParams, Queries, WeightsParams, no_blank_names
from umgclip.params.section import FILE, INDIFFERENT, Count, Share, Template
from umgclip.params.vlm import VlmParams

__all__ = ["KINDS", "AnnotatorParams", "ModelParams", "Names", "Queries", "VlmParams", "WeightsParams"]

Names = Annotated[list[str], Field(min_length=1)]


class Florence2Params(WeightsParams):
    """Florence-2 (Xiao et al., CVPR 2024): captions, boxes, region captions."""

    ROLES: ClassVar[tuple[str, ...]] = ("proposer", "region_captioner", "tagger", "captioner")

    kind: Literal["florence2"] = "florence2"
    captions: list[Literal["<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>"]] = Field(
        default=["<DETAILED_CAPTION>"], min_length=1, description="prompts; each gives one caption of the image"
    )
    boxes: Literal["<OD>", "<DENSE_REGION_CAPTION>", "<REGION_PROPOSAL>"] = Field(
        default="<OD>", description="as proposer: boxes with labels, with captions, or alone"
    )
    regions: Literal["<REGION_TO_DESCRIPTION>", "<REGION_TO_CATEGORY>"] = "<REGION_TO_DESCRIPTION>"
    max_new_tokens: Count = 512
    beams: Count = 1


class GroundingDinoParams(WeightsParams):
    """Grounding DINO (Liu et al., ECCV 2024) and MM Grounding DINO (Zhao et al., 2024), also LLMDet's weights."""

    ROLES: ClassVar[tuple[str, ...]] = ("proposer",)

    kind: Literal["grounding_dino", "mm_grounding_dino"]
    queries: Queries = "caption"
    threshold: Share = Field(default=0.3, description="least score of a box")
    nms_iou: Share = Field(default=0.7, description="IoU above which boxes with the same label are duplicates")
    most: Count = Field(default=100, description="most boxes of an image")


class Owlv2Params(WeightsParams):
    """OWLv2 (Minderer et al., NeurIPS 2023)."""

    ROLES: ClassVar[tuple[str, ...]] = ("proposer",)

    kind: Literal["owlv2"] = "owlv2"
    queries: Queries = "caption"
    template: Template = "a photo of {a} {}"
    threshold: Share = Field(default=0.1, description="least score of a box")
    nms_iou: Share = Field(default=0.7, description="IoU above which boxes with the same label are duplicates")
    most: Count = Field(default=100, description="most boxes of an image")


class DetrParams(WeightsParams):
    """DETR (Carion et al., ECCV 2020), RT-DETRv2 (Lv et al., 2024) and other closed detectors of transformers."""

    ROLES: ClassVar[tuple[str, ...]] = ("proposer",)

    kind: Literal["detr", "rt_detr_v2"]
    threshold: Share = Field(default=0.5, description="least score of a box")
    most: Count = Field(default=100, description="most boxes of an image")


class Mask2FormerParams(WeightsParams):
    """Mask2Former (Cheng et al., CVPR 2022), panoptic: masks of things and stuff."""

    ROLES: ClassVar[tuple[str, ...]] = ("proposer",)

    kind: Literal["mask2former"] = "mask2former"
    things: int = Field(
        default=80,
        ge=0,
        description="number of labels, from the first, that are things (COCO panoptic: 80); the rest are stuff",
    )
    threshold: Share = Field(default=0.8, description="least score of a segment")
    overlap: Share = Field(default=0.8, description="least share of a mask that other segments do not cover")


class Sam2Params(WeightsParams):
    """SAM 2 (Ravi et al., ICLR 2025): masks for boxes; as proposer, everything mode."""

    ROLES: ClassVar[tuple[str, ...]] = ("proposer", "masker")

    kind: Literal["sam2"] = "sam2"
    min_box_iou: Share = Field(
        default=0.5, description="least IoU of the mask's box with the region's; other masks are refused"
    )
    pred_iou: Share = Field(default=0.88, description="everything mode: least IoU that the model predicts for a mask")
    stability: Share = Field(default=0.95, description="everything mode: least stability of the border of a mask")
    points_per_side: Count = 32
    points_per_batch: Count = 64
    most: Count = Field(default=100, description="everything mode: most regions of an image")


class Sam3Params(WeightsParams):
    """SAM 3 (Carion et al., 2025): masks of things and stuff by words, and masks for boxes."""

    ROLES: ClassVar[tuple[str, ...]] = ("proposer", "masker")

    kind: Literal["sam3"] = "sam3"
    queries: Queries = "caption"
    threshold: Share = Field(default=0.5, description="proposer: least score of a thing")
    stuff_threshold: Share = Field(default=0.5, description="proposer: least score of the stuff of a word")
    mask_threshold: Share = Field(default=0.5, description="least probability of a pixel of a mask")
    rival_iou: Share = Field(
        default=0.8, description="proposer: IoU of masks above which things of two words are one; the best stays"
    )
    overlap: Share = Field(
        default=0.8, description="proposer: least share of the stuff of a word that better stuff does not cover"
    )
    most: Count = Field(default=100, description="proposer: most regions of an image")
    min_box_iou: Share = Field(
        default=0.5, description="masker: least IoU of the mask's box with the region's; other masks are refused"
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Sam3Params:
        if self.queries == []:
            raise ValueError("queries: expected caption, vocabulary, or words, since SAM 3 finds only named things")
        return self


class ClipParams(WeightsParams):
    """CLIP, SigLIP or SigLIP 2 as tagger of images and regions over the vocabulary, and as filter."""

    ROLES: ClassVar[tuple[str, ...]] = ("region_tagger", "tagger", "filter")

    kind: Literal["clip"] = "clip"
    template: Template = "a photo of {a} {}"
    threshold: Share = Field(default=0.2, description="least score of a tag; SigLIP: sigmoid, CLIP: softmax")
    thresholds: dict[str, Share] = Field(default={}, description="the same for single tags, by name")
    most: Count = Field(default=10, description="most tags of an image")
    crop_context: float = Field(default=1.2, ge=1, description="side of a region's crop, as a multiple of its box")


class Blip2Params(WeightsParams):
    """BLIP-2 (Li et al., ICML 2023): short captions of images and of regions' crops."""

    ROLES: ClassVar[tuple[str, ...]] = ("region_captioner", "captioner")

    kind: Literal["blip2"] = "blip2"
    prompt: str = Field(default="a photo of", description="start of the caption")
    max_new_tokens: Count = 40
    beams: Count = 1
    crop_context: float = Field(default=1.2, ge=1, description="side of a region's crop, as a multiple of its box")


class Qwen3VlParams(WeightsParams):
    """Qwen3-VL (2025): captions of images and of regions' crops."""

    ROLES: ClassVar[tuple[str, ...]] = ("region_captioner", "captioner")

    kind: Literal["qwen3_vl"] = "qwen3_vl"
    prompt: str = "Describe what is visible in this image in one or two factual sentences."
    region_prompt: str = "Name and describe the main object of this picture in one short phrase."
    max_new_tokens: Count = 128
    crop_context: float = Field(default=1.2, ge=1, description="side of a region's crop, as a multiple of its box")


Action = Annotated[
    Literal["quarantine", "note"],
    Field(description="quarantine: put the image aside; note: keep it and write the finding into rejected.parquet"),
]


class FaceParams(AnnotatorParams):
    """A policy that finds faces, by YuNet in OpenCV."""

    ROLES: ClassVar[tuple[str, ...]] = ("policy",)

    kind: Literal["face"] = "face"
    path: Annotated[str, FILE, INDIFFERENT] = Field(
        description="ONNX file of YuNet (face_detection_yunet_*.onnx of OpenCV's model zoo, MIT)"
    )
    threshold: Share = Field(default=0.7, description="least score of a face")
    nms_iou: Share = Field(default=0.3, description="IoU above which overlapping faces are one")
    min_share: Share = Field(
        default=0.0, description="shorter side of a face as a share of the image's; smaller faces are ignored"
    )
    max_side_px: Count = Field(default=640, description="larger images are scaled down before detection")
    action: Action = "quarantine"


class NsfwParams(WeightsParams):
    """A policy that finds images not safe for work, by an image classifier, or by a CLIP if `safe` has prompts."""

    ROLES: ClassVar[tuple[str, ...]] = ("policy",)

    kind: Literal["nsfw"] = "nsfw"
    unsafe: Annotated[Names, AfterValidator(no_blank_names)] = Field(
        default=["nsfw"], description="labels of the classifier, or prompts of the CLIP"
    )
    safe: Annotated[list[str], AfterValidator(no_blank_names)] = Field(
        default=[], description="prompts of the CLIP for images that may stay"
    )
    threshold: Share = Field(default=0.5, description="least combined probability of what is unsafe")
    action: Action = "quarantine"


ModelParams = Annotated[
    Florence2Params
    | GroundingDinoParams
    | Owlv2Params
    | DetrParams
    | Mask2FormerParams
    | Sam2Params
    | Sam3Params
    | ClipParams
    | Blip2Params
    | Qwen3VlParams
    | VlmParams
    | FaceParams
    | NsfwParams,
    Field(discriminator="kind"),
]

KINDS: Mapping[str, type[AnnotatorParams]] = {
    kind: section
    for section in get_args(get_args(ModelParams)[0])
    for kind in get_args(section.model_fields["kind"].annotation)
}
"""The parameters of each kind that an entry of `annotate.models` may have."""
