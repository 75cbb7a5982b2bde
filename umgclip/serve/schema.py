"""Descriptions of requests and answers for `/docs` and `openapi.json`.

`umgclip.inference.request` checks requests, as for the registered model itself. The classes here describe the same
fields, and a test compares the two.
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
    """A mask as compressed COCO run-length encoding, of the same size as the image."""

    size: tuple[int, int] = Field(description="height and width in pixels")
    counts: str = Field(description="compressed run lengths, as pycocotools writes them")


class PredictRequest(BaseModel):
    """One image and the question about it. Only `image` is required."""

    image: str = Field(description="a JPEG, PNG or WebP file as base64 text, or as a `data:` URL with base64")
    labels: list[str] | None = Field(None, description="texts to score")
    boxes: list[tuple[float, float, float, float]] | None = Field(
        None, description="regions as [x0, y0, x1, y1] in pixels of the upright image"
    )
    masks: list[MaskRle | str] | None = Field(
        None,
        description="regions as COCO run-length encodings, or as base64 PNG files in which the region is not black",
    )
    tags: int | None = Field(None, ge=0, description="how many of the vocabulary's best concepts to return")
    vocabulary: list[str] | None = Field(
        None, description="concepts to choose tags from; default: those registered with the model"
    )
    similarity_map: bool | None = Field(None, description="whether to compare every patch with every label")
    region_embeddings: bool | None = Field(None, description="whether to return the embeddings of boxes and masks")


class Tag(BaseModel):
    """A concept of the vocabulary and its probability, computed as for the labels."""

    label: str
    score: float


class PredictAnswer(BaseModel):
    """The answer for one image. Fields that the request did not ask for are null. Embeddings have length 1."""

    embedding: list[float]
    label_scores: list[float] | None = Field(
        description="probability of each label, in the order of the request: a softmax over the labels, or for a model "
        "trained with sigmoids (SigLIP) the probability of each label alone"
    )
    box_label_scores: list[list[float]] | None = Field(description="the same for every box")
    mask_label_scores: list[list[float]] | None = Field(description="the same for every mask")
    box_embeddings: list[list[float]] | None
    mask_embeddings: list[list[float]] | None
    tags: list[Tag] | None = Field(description="best first")
    similarity_map: list[list[list[float]]] | None = Field(
        description="for each label a grid of cosine similarities to the image's patches, row by row from the top left"
    )


class Error(BaseModel):
    """An error: the field, the expected value and the value received."""

    detail: str


class ModelState(BaseModel):
    """The model version that answers requests at the moment."""

    name: str
    alias: str | None = Field(description="null when a fixed version is served")
    version: str
    loaded_at: datetime
    device: str
    embed_dim: int
    vocabulary: int = Field(description="concepts registered for tags")


class ProblemState(BaseModel):
    """The reason that a newer version could not be loaded."""

    message: str
    version: str | None
    since: datetime


class QueueState(BaseModel):
    """The number of images that are accepted and not yet answered."""

    images: int
    limit: int


class Health(BaseModel):
    """The state of the server; `ready` is false, and the status 503, while it should not get requests."""

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
        "summary": "where in the image each text fits",
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
    """Describe the state of the server for `/health`.

    Args:
        settings: the operator's settings.
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
    """Return the JSON schemas of the request, for the part `components` of `openapi.json`."""
    _, schemas = models_json_schema([(PredictRequest, "validation")], ref_template="#/components/schemas/{model}")
    return dict(schemas["$defs"])


def request_body() -> dict[str, Any]:
    """Return the part `requestBody` of `/predict` for `openapi.json`."""
    one = {"$ref": "#/components/schemas/PredictRequest"}
    content = {"schema": {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}, "examples": EXAMPLES}
    return {"required": True, "content": {"application/json": content}}
