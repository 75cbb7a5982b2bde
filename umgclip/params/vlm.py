"""The parameters of the kind `vlm`: a server, its model, the prompts and the limits of each request."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from umgclip.params.annotator_kind import AnnotatorParams
from umgclip.params.section import INDIFFERENT, Count

BoxUnit = Literal["pixel", "thousandth", "share"]


class VlmParams(AnnotatorParams):
    """Any server that speaks OpenAI's chat completions (vLLM and others): captions, tags, grounded boxes as JSON."""

    ROLES: ClassVar[tuple[str, ...]] = ("proposer", "region_captioner", "tagger", "captioner", "negator")

    kind: Literal["vlm"] = "vlm"
    url: Annotated[str, INDIFFERENT] = Field(
        pattern=r"^https?://[^@\s]+$", description="address of the server, up to and including /v1"
    )
    model: str = Field(min_length=1, description="name of the model on the server")
    revision: str | None = Field(
        default=None, description="revision of the weights on the server, for the source in records"
    )
    api_key_env: Annotated[str | None, INDIFFERENT] = Field(
        default=None, description="environment variable that holds the key; null: none"
    )
    prompt: str = "Describe what is visible in this image in one or two factual sentences."
    tags_prompt: str = "List the objects, materials and places that are visible in this image, as singular nouns."
    boxes_prompt: str = "Locate every distinct object that is visible in this image."
    region_prompt: str = "Name and describe the main object of this picture in one short phrase."
    negatives_prompt: str = Field(
        default=(
            "This text describes the picture: {}\nWrite ten texts that are nearly the same and wrong for the picture. "
            "In each, change one thing: a colour, a material, a number, an attribute, a position or an object."
        ),
        pattern=r"\{\}",
        description="asks for wrong texts of a region; {} is its caption or label",
    )
    box_unit: BoxUnit = Field(
        default="thousandth",
        description="unit of boxes in answers: pixels of the image sent, thousandths of its sides, or shares of 1",
    )
    structured: bool = Field(default=True, description="ask for JSON by response_format (json_schema)")
    logprobs: bool = Field(
        default=True,
        description="ask for token probabilities, from which scores are computed; false: all scores are 0.5",
    )
    temperature: float = Field(default=0.7, ge=0, le=2, description="0 makes some models repeat themselves")
    top_p: float = Field(default=0.8, gt=0, le=1)
    seed: int = 0
    max_tokens: Count = Field(default=400, description="most tokens of one answer; a cut answer is requested again")
    token_budget: Annotated[Count | None, INDIFFERENT] = Field(
        default=None, description="most tokens that one worker uses; null: no limit"
    )
    concurrency: Annotated[Count, INDIFFERENT] = Field(default=8, description="simultaneous requests of one worker")
    timeout_s: Annotated[float, INDIFFERENT] = Field(
        default=60.0, gt=0, description="limit for one request and its whole reply"
    )
    deadline_s: Annotated[float, INDIFFERENT] = Field(
        default=600.0, gt=0, description="limit for one answer with all its retries"
    )
    retries: Annotated[int, INDIFFERENT] = Field(
        default=5, ge=0, description="retries after a failed request or an unusable answer"
    )
    backoff_s: Annotated[float, INDIFFERENT] = Field(
        default=1.0, gt=0, description="wait before the first retry; doubled every time, with jitter"
    )
    max_reply_kb: Annotated[Count, INDIFFERENT] = Field(
        default=4096, description="largest reply of the server after decompression; larger ones are not read"
    )
    max_side_px: Count = Field(default=1024, description="larger images are scaled down before they are sent")
    jpeg_quality: int = Field(default=90, ge=50, le=100)
    crop_context: float = Field(default=1.2, ge=1, description="side of a region's crop, as a multiple of its box")
