"""The parameters of the kind `vlm`: a server, its model, the prompts and the limits of each request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from umgclip.params.annotator_kind import AnnotatorParams, Queries
from umgclip.params.section import INDIFFERENT, Count

BoxUnit = Literal["pixel", "thousandth", "share", "percent"]
Grammar = Literal["json", "bbox_2d", "griffon", "texthawk", "shikra", "molmo"]
RegionView = Literal["crop", "box_text", "alpha"]


@dataclass(frozen=True)
class GrammarDefaults:
    """The units that a grammar of boxes can have, its own first, and what is asked in it if the params do not say.

    Attributes:
        units: values of `box_unit`.
        boxes_prompt: asks for whatever is visible.
        queries_prompt: asks for names, which replace `{}`.
        names_per_question: names in one question.
        answers: the form of captions, tags and negatives.
    """

    units: tuple[BoxUnit, ...]
    boxes_prompt: str
    queries_prompt: str
    names_per_question: int
    answers: Literal["json", "text"] = "text"


_EVERYTHING = "Locate every distinct object that is visible in this image."
GRAMMARS: Mapping[str, GrammarDefaults] = {
    "json": GrammarDefaults(
        ("thousandth", "pixel", "share"), _EVERYTHING,
        "Locate every instance of these objects that is visible in this image: {}. Use these names as labels.", 80,
        "json",
    ),
    "bbox_2d": GrammarDefaults(
        ("thousandth", "pixel"), f"{_EVERYTHING} Report bbox coordinates in JSON format.",
        "Locate every instance that belongs to the following categories: {}. Report bbox coordinates in JSON format.",
        80, "json",
    ),
    "griffon": GrammarDefaults(
        ("share",),
        "Identify and locate all the objects in the image. Report the coordinates of each detected object."
        "\nAnswer in the format: class name-[x1, y1, x2, y2], and concatenate them with &.",
        "Examine the image for any objects from the category set. Report the coordinates of each detected object. "
        "The category set includes {}."
        "\nAnswer in the format: class name-[x1, y1, x2, y2], and concatenate them with &.",
        80,
    ),
    "texthawk": GrammarDefaults(
        ("thousandth",), f"{_EVERYTHING} Answer with the name and the box of each.",
        "Locate {} in this image. Answer with the name and the box of each instance.", 1,
    ),
    "shikra": GrammarDefaults(
        ("share",),
        "Can you provide a description of the image and include the coordinates [x0,y0,x1,y1] for each mentioned "
        "object?",
        "Where is {} in the image? Answer in [x0,y0,x1,y1] format.", 1,
    ),
    "molmo": GrammarDefaults(
        ("percent", "thousandth"), "Point to every object in the image.", "Point to every {}", 1
    ),
}  # fmt: skip
"""The grammars in which answers give boxes or points."""

_REGION_PROMPTS: Mapping[str, str] = {
    "crop": "Name and describe the main object of this picture in one short phrase.",
    "box_text": "Briefly describe this region: {box}",
    "alpha": "Describe the masked region in detail.",
}


class VlmParams(AnnotatorParams):
    """Any server that speaks OpenAI's chat completions (vLLM and others): captions, tags, boxes in several grammars.

    `box_unit`, `boxes_prompt`, `queries_prompt`, `names_per_question` and `answers` have the values of `GRAMMARS` if
    they are not given, and `region_prompt` that of `regions`.
    """

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
    grammar: Grammar = Field(
        default="json",
        description="form of boxes in answers; bbox_2d: Qwen2.5-VL and Qwen3-VL, the others: the models of that name",
    )
    box_unit: BoxUnit = Field(
        default=GRAMMARS["json"].units[0],
        description="unit of coordinates in answers: pixels of the image sent, thousandths of its sides, shares from "
        "0 to 1, percent",
    )
    queries: Queries | None = Field(
        default=None, description="as proposer, what is looked for: see queries of the detectors; null: all objects"
    )
    names_per_question: Count = Field(
        default=GRAMMARS["json"].names_per_question, description="names in one question; more are asked in several"
    )
    questions_max: Annotated[Count, INDIFFERENT] = Field(
        default=200, description="most questions about one image; more names are an error before the work"
    )
    boxes_prompt: str = Field(default=GRAMMARS["json"].boxes_prompt, description="asks for boxes of all objects")
    queries_prompt: str = Field(
        default=GRAMMARS["json"].queries_prompt, pattern=r"\{\}", description="asks for names, which replace {}"
    )
    regions: RegionView = Field(
        default="crop",
        description="how a region is shown: as a crop, by its box in the prompt, or by the alpha channel of a PNG",
    )
    region_prompt: str = Field(default=_REGION_PROMPTS["crop"], description="{box} is the box, if regions is box_text")
    answers: Literal["json", "text"] = Field(
        default="json", description="form of captions, tags (text: comma or line) and negatives (text: one a line)"
    )
    negatives_prompt: str = Field(
        default=(
            "This text describes the picture: {}\nWrite ten texts that are nearly the same and wrong for the picture. "
            "In each, change one thing: a colour, a material, a number, an attribute, a position or an object."
        ),
        pattern=r"\{\}",
        description="asks for wrong texts of a region; {} is its caption or label",
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
    extra_body: dict[str, Any] = Field(
        default={}, description="more fields of each request, such as skip_special_tokens of vLLM; none replaces ours"
    )
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

    @model_validator(mode="before")
    @classmethod
    def _fill_by_grammar(cls, given: Any) -> Any:  # noqa: ANN401 - any YAML value
        if not isinstance(given, dict):
            return given
        grammar, regions = str(given.get("grammar", "json")), str(given.get("regions", "crop"))
        defaults = GRAMMARS.get(grammar, GRAMMARS["json"])  # a wrong name is an error later
        return {
            "box_unit": defaults.units[0],
            "boxes_prompt": defaults.boxes_prompt,
            "queries_prompt": defaults.queries_prompt,
            "names_per_question": defaults.names_per_question,
            "answers": "text" if regions == "alpha" else defaults.answers,
            "region_prompt": _REGION_PROMPTS.get(regions, ""),
            **given,
        }

    @model_validator(mode="after")
    def _keys_fit_the_grammar(self) -> VlmParams:
        units = GRAMMARS[self.grammar].units
        if self.box_unit not in units:
            raise ValueError(
                f"box_unit: expected {' or '.join(units)} with grammar {self.grammar}, got {self.box_unit}"
            )
        if self.queries == []:
            raise ValueError("queries: expected names, caption, vocabulary, or null for all objects, got an empty list")
        if "{box}" in self.region_prompt + self.negatives_prompt and self.regions != "box_text":
            raise ValueError(f"regions: expected box_text with {{box}} in a prompt, got {self.regions}")
        if self.grammar == "molmo" and self.regions == "box_text":
            raise ValueError(
                "regions: expected crop or alpha with grammar molmo, whose points are no boxes, got box_text"
            )
        return self
