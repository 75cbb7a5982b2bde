"""What `/docs` and `openapi.json` say about requests and answers.

Requests are checked where the registered model itself checks them, `umgclip.inference.request`; these models describe
the same fields, and a test holds the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from umgclip.serve.current import Current
from umgclip.serve.settings import ServeSettings

# a sun over a meadow
_PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAOElEQVR4nGOMWvCMgRTARJJqBgYGFgi1QMMJTSLhxj7q2DAcNEBDCVeYUMOGc+fC"
    "SNIwCEOJ9hoA8WAI7gy6ADUAAAAASUVORK5CYII="
)
_MEADOW = {"size": [16, 16], "counts": ":6:00000000000000000000000000000"}


class MaskRle(BaseModel):
    """A mask as compressed COCO run-length encoding, of the image's size."""

    size: tuple[int, int] = Field(description="height and width in pixels")
    counts: str = Field(description="the compressed text, as pycocotools writes it")


class PredictRequest(BaseModel):
    """One image, and what is asked about it. Only `image` is required."""

    image: str = Field(description="a JPEG, PNG or WebP file as base64 text, or as a `data:` URL of base64")
    labels: list[str] | None = Field(None, description="texts to score")
    boxes: list[tuple[float, float, float, float]] | None = Field(
        None, description="regions as [x0, y0, x1, y1] in pixels of the upright image"
    )
    masks: list[MaskRle | str] | None = Field(
        None, description="regions as COCO run-length encodings, or base64 PNG files that are not black inside"
    )
    tags: int | None = Field(None, ge=0, description="how many of the best concepts of the vocabulary to name")
    vocabulary: list[str] | None = Field(
        None, description="concepts that tags are chosen from; else those registered with the model"
    )
    similarity_map: bool | None = Field(None, description="whether to compare every patch with every label")
    region_embeddings: bool | None = Field(None, description="whether to give the embeddings of boxes and masks")


class Tag(BaseModel):
    """A concept of the vocabulary and its probability, computed as for labels."""

    label: str
    score: float


class PredictAnswer(BaseModel):
    """The answer to one image; what was not asked for is null. Embeddings have length 1."""

    embedding: list[float]
    label_scores: list[float] | None = Field(
        description="probability of each label, in their order: a softmax over the labels, or for a model trained with "
        "sigmoids (SigLIP) each label alone"
    )
    box_label_scores: list[list[float]] | None = Field(description="the same for every box")
    mask_label_scores: list[list[float]] | None = Field(description="the same for every mask")
    box_embeddings: list[list[float]] | None
    mask_embeddings: list[list[float]] | None
    tags: list[Tag] | None = Field(description="best first")
    similarity_map: list[list[list[float]]] | None = Field(
        description="per label a grid of cosines with the image's patches, row by row from the top left"
    )


class Error(BaseModel):
    """What is wrong: the field, what was expected, what came."""

    detail: str


class ModelState(BaseModel):
    """The model that answers."""

    name: str
    alias: str | None = Field(description="null when a fixed version is served")
    version: str
    loaded_at: datetime
    device: str
    embed_dim: int
    vocabulary: int = Field(description="concepts registered for tags")


class ProblemState(BaseModel):
    """Why a newer model does not answer."""

    message: str
    version: str | None
    since: datetime


class QueueState(BaseModel):
    """Images accepted and not yet answered."""

    images: int
    limit: int


class Health(BaseModel):
    """`ready` is false, and the status 503, while the server cannot or should not be asked."""

    live: bool
    ready: bool
    model: ModelState
    alias_checked_at: datetime | None = Field(description="null when a fixed version is served")
    problem: ProblemState | None
    queue: QueueState
    limits: dict[str, int] = Field(description="the most that a request may hold")


EXAMPLES: dict[str, Any] = {
    "labels": {
        "summary": "scores of an image for three texts",
        "value": {"image": _PICTURE, "labels": ["sun", "sea", "meadow"]},
    },
    "regions": {
        "summary": "scores of a box and a mask, and their embeddings",
        "value": {
            "image": _PICTURE,
            "labels": ["sun", "sea"],
            "boxes": [[2, 2, 8, 8]],
            "masks": [_MEADOW],
            "region_embeddings": True,
        },
    },
    "map": {
        "summary": "where in the image each text is",
        "value": {"image": _PICTURE, "labels": ["sun", "sea"], "similarity_map": True},
    },
    "tags": {
        "summary": "the two best of three concepts",
        "value": {"image": _PICTURE, "tags": 2, "vocabulary": ["sun", "sea", "meadow"]},
    },
    "list": {
        "summary": "several images in one request; the answer is a list",
        "value": [{"image": _PICTURE, "labels": ["sun", "sea"]}, {"image": _PICTURE}],
    },
}


def health(settings: ServeSettings, current: Current, *, ready: bool, images: int) -> Health:
    """The state of a server.

    Args:
        settings: what the operator asked for.
        current: the model.
        ready: whether requests are answered.
        images: images accepted and not yet answered.
    """
    served, selection, problem = current.served, current.selection, current.problem
    model = ModelState(
        name=selection.name,
        alias=None if selection.version else selection.alias,
        version=served.version,
        loaded_at=served.loaded_at,
        device=str(served.answerer.device),
        embed_dim=served.answerer.embed_dim,
        vocabulary=len(served.answerer.target.vocabulary),
    )
    return Health(
        live=True,
        ready=ready,
        model=model,
        alias_checked_at=None if selection.version else current.checked_at,
        problem=None if problem is None else ProblemState(**vars(problem)),
        queue=QueueState(images=images, limit=settings.batching.queue_images),
        limits=vars(settings.limits),
    )


def request_schemas() -> dict[str, Any]:
    """JSON schemas of the request, for the part `components` of `openapi.json`."""
    _, schemas = models_json_schema([(PredictRequest, "validation")], ref_template="#/components/schemas/{model}")
    return dict(schemas["$defs"])


def request_body() -> dict[str, Any]:
    """The part `requestBody` of `/predict`."""
    one = {"$ref": "#/components/schemas/PredictRequest"}
    content = {"schema": {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}, "examples": EXAMPLES}
    return {"required": True, "content": {"application/json": content}}
