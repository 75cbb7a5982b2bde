"""Models of this package in FiftyOne: `dataset.apply_model`, `compute_embeddings` and embeddings of patches.

The package fiftyone (1.0 or later) is needed, which no extra installs: it brings a database server of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.inference.model import Model

__all__ = ["as_fiftyone", "load_model"]

_TASKS = ("regions", "boxes", "image")


def load_model(
    source: Any,  # noqa: ANN401 - as in `umgclip.load`
    labels: Sequence[str] = (),
    *,
    task: str = "regions",
    boxes: str | None = None,
    settings: Mapping[str, Any] | None = None,
    **options: Any,  # noqa: ANN401 - of `umgclip.load`
) -> Any:  # noqa: ANN401 - a class that needs fiftyone
    """Load a model as one of FiftyOne's zoo, for `dataset.apply_model(model, label_field="umgclip")`.

    Args:
        source: as in `umgclip.load`.
        labels: names to choose from; may be empty if only embeddings are wanted.
        task: `regions` proposes regions and names them (Detections with masks), `boxes` names the boxes of a field
            (Detections), `image` names the whole image (Classification).
        boxes: the field of detections that `boxes` names, such as `ground_truth`.
        settings: which regions are reported: fields of `umgclip.inference.detecting.detector.DetectSettings`, such as
            `threshold` and `background`.
        **options: others of `umgclip.load`, such as `device`.

    Raises:
        InputError: fiftyone is not installed, or an argument is not as expected.

    Example:
        >>> import umgclip.fiftyone  # doctest: +SKIP
        >>> model = umgclip.fiftyone.load_model("artifacts", ["dog", "red mug"])  # doctest: +SKIP
        >>> dataset.apply_model(model, label_field="umgclip")  # doctest: +SKIP
    """
    import umgclip

    return as_fiftyone(umgclip.load(source, **options), labels, task=task, boxes=boxes, settings=settings)


def as_fiftyone(
    model: Model,
    labels: Sequence[str] = (),
    *,
    task: str = "regions",
    boxes: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Any:  # noqa: ANN401 - a class that needs fiftyone
    """Wrap a loaded model for FiftyOne; see `load_model` for the arguments.

    Raises:
        InputError: fiftyone is not installed, or an argument is not as expected.
    """
    _check(task, boxes)
    namer = _Namer(model, list(labels), task, boxes, settings)
    return _zoo_model(model, namer)


def _check(task: str, boxes: str | None) -> None:
    if task not in _TASKS:
        raise InputError(f"task: expected one of {', '.join(_TASKS)}, got {task!r}")
    if (task == "boxes") != (boxes is not None):
        raise InputError(
            f'boxes: expected the field of detections with task="boxes" alone, got {boxes!r} with {task!r}'
        )


def _zoo_model(model: Model, namer: _Namer) -> Any:  # noqa: ANN401 - a class that needs fiftyone
    """Make the wrapper, whose bases are FiftyOne's.

    Raises:
        InputError: fiftyone is not installed.
    """
    try:
        fom = import_module("fiftyone.core.models")
    except ImportError as error:
        raise InputError(
            "umgclip.fiftyone needs FiftyOne, which is not installed; run: pip install fiftyone"
        ) from error
    kind = type("ZooModel", (_Interface, fom.SamplesMixin, fom.EmbeddingsMixin, fom.PromptMixin, fom.Model), {})
    return kind(model, namer)


class _Interface:
    """The interface of FiftyOne's models, above whose own classes it stands."""

    media_type, has_embeddings, can_embed_prompts, ragged_batches = "image", True, True, True
    config = transforms = None
    preprocess = False

    def __init__(self, model: Model, namer: _Namer) -> None:
        self.umgclip, self._namer = model, namer
        self._embeddings: Float[np.ndarray, "n d"] | None = None

    @property
    def needs_fields(self) -> dict[str, str]:
        """Fields of a sample that are read: that of the boxes."""
        return self._namer.fields

    @needs_fields.setter
    def needs_fields(self, _fields: dict[str, str]) -> None:
        pass  # `apply_model` sets those of its call, which are none of ours

    def predict(self, arg: Any, sample: Any = None) -> Any:  # noqa: ANN401 - as in FiftyOne
        """Return the labels of one image."""
        return self.predict_all([arg], samples=[sample])[0]

    def predict_all(self, args: Iterable[Any], samples: Iterable[Any] | None = None) -> list[Any]:
        """Return the labels of images, in order."""
        labels, pixels = import_module("fiftyone.core.labels"), [_pixels(arg) for arg in args]
        listed = [None] * len(pixels) if samples is None else list(samples)
        return [self._namer.name(labels, each, sample) for each, sample in zip(pixels, listed, strict=True)]

    def embed(self, arg: Any) -> Float[np.ndarray, " d"]:  # noqa: ANN401 - as in FiftyOne
        """Return the embedding of one image, which FiftyOne stacks with others."""
        return self.embed_all([arg])[0]

    def embed_all(self, args: Iterable[Any]) -> Float[np.ndarray, "n d"]:
        """Return the embeddings of images, one a row."""
        self._embeddings = self.umgclip.embed_images([_pixels(arg) for arg in args])
        return self._embeddings

    def get_embeddings(self) -> Float[np.ndarray, "n d"] | None:
        """Return the embeddings of the last images."""
        return self._embeddings

    def embed_prompt(self, arg: str) -> Float[np.ndarray, " d"]:
        """Return the embedding of a text, by which `brain.compute_similarity` searches."""
        return self.umgclip.embed_texts(arg)[0]

    def embed_prompts(self, args: Iterable[str]) -> Float[np.ndarray, "n d"]:
        """Return the embeddings of texts, one a row."""
        return self.umgclip.embed_texts(list(args))


def _pixels(image: Any) -> UInt8[np.ndarray, "h w 3"]:  # noqa: ANN401 - what FiftyOne read
    """Return an image of FiftyOne as RGB pixels."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    return np.ascontiguousarray(pixels[..., :3].astype(np.uint8))


class _Namer:
    """A model with its labels, which names an image or regions of it."""

    def __init__(
        self, model: Model, labels: list[str], task: str, boxes: str | None, settings: Mapping[str, Any] | None
    ) -> None:
        from umgclip.inference.detecting.detector import DetectSettings

        self._model, self._labels, self._task, self._boxes = model, labels, task, boxes
        self.fields = {} if boxes is None else {"boxes": boxes}
        chosen = DetectSettings.of(dict(settings or {}))
        self._detector = model.detector(labels, settings=chosen) if labels and task == "regions" else None

    def name(self, fol: Any, pixels: UInt8[np.ndarray, "h w 3"], sample: Any) -> Any:  # noqa: ANN401 - FiftyOne's own
        """Return the labels of an image in FiftyOne's own classes.

        Raises:
            InputError: there are no labels, or the sample has no such field.
        """
        if not self._labels:
            raise InputError(
                "labels: expected names to choose from, got none; load_model(..., labels=[...]) takes them"
            )
        if self._task == "image":
            label, score = self._best(self._model.classify(pixels, self._labels)[0])
            return fol.Classification(label=label, confidence=score)
        if self._detector is not None:
            return fol.Detections(
                detections=list(_regions(fol, self._detector.find([pixels])[0], self._labels, pixels))
            )
        return fol.Detections(detections=self._named_boxes(fol, pixels, sample))

    def _best(self, scores: Float[np.ndarray, " labels"]) -> tuple[str, float]:
        best = int(scores.argmax())
        return self._labels[best], float(scores[best])

    def _named_boxes(self, fol: Any, pixels: UInt8[np.ndarray, "h w 3"], sample: Any) -> list[Any]:  # noqa: ANN401
        there = None if sample is None or not sample.has_field(self._boxes) else sample[self._boxes]
        if sample is not None and not sample.has_field(self._boxes):
            raise InputError(f"boxes: expected the field {self._boxes!r} in every sample, got none")
        detections = getattr(there, "detections", None) or []
        if not detections:
            return []
        height, width = pixels.shape[:2]
        shares = np.array([one.bounding_box for one in detections], dtype=float)
        boxes = np.concatenate([shares[:, :2], shares[:, :2] + shares[:, 2:]], axis=1) * [width, height, width, height]
        named = map(self._best, self._model.classify(pixels, self._labels, boxes_xyxy=boxes))
        return [
            fol.Detection(label=label, confidence=score, bounding_box=list(one.bounding_box), mask=one.mask)
            for one, (label, score) in zip(detections, named, strict=True)
        ]


def _regions(fol: Any, regions: Any, labels: Sequence[str], pixels: UInt8[np.ndarray, "h w 3"]) -> Iterable[Any]:  # noqa: ANN401
    """Yield what a detector reports as FiftyOne's detections, boxes as shares and masks within their box."""
    height, width = pixels.shape[:2]
    for number, (x0, y0, x1, y1) in enumerate(np.asarray(regions.boxes_xyxy, dtype=float).tolist()):
        mask = None
        if regions.masks is not None:
            left, top = int(np.floor(x0)), int(np.floor(y0))
            mask = np.asarray(regions.masks[number], dtype=bool)[top : int(np.ceil(y1)), left : int(np.ceil(x1))]
        yield fol.Detection(
            label=labels[int(regions.label_ids[number])],
            confidence=float(regions.scores[number]),
            bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
            mask=mask if mask is not None and mask.size else None,
        )
