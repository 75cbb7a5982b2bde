"""Average precision of boxes as COCO measures it, and as LVIS does where not every class was looked for.

Matching and accumulation are pycocotools' own (Lin et al., ECCV 2014), one class at a time over the images that have
something of it, so that 1,203 classes of 20,000 images need no table of both. LVIS's federated rules (Gupta et al.,
CVPR 2019) are two more: detections of a class that is neither in the image nor verified to be absent are left out, and
one without a true box is ignored where not every object of its class has a box.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer
from pycocotools.cocoeval import COCOeval

from umgclip.metrics.inputs import require_finite, require_integers, require_scores, require_shape

_AREAS = ("", "_small", "_medium", "_large")  # in the order of COCO's ranges
_IOU_50, _IOU_75 = 0, 5  # of .5, .55, ... .95


@dataclass(frozen=True)
class TrueBoxes:
    """The true boxes of one image.

    Attributes:
        boxes_xyxy_px: left, top, right and bottom edge of each box, pixels.
        labels: label of each box, 0 or more.
        areas_px: area of each object, which decides whether it is small, medium or large.
        is_crowd: whether it is a group of unknown number, which excuses detections on it and is not to be found.
        absent: labels that were verified to be absent; None: every label without a box is absent, as in COCO.
        not_exhaustive: labels of which not every object has a box.
    """

    boxes_xyxy_px: Float[np.ndarray, "n 4"]
    labels: Integer[np.ndarray, " n"]
    areas_px: Float[np.ndarray, " n"]
    is_crowd: Bool[np.ndarray, " n"]
    absent: frozenset[int] | None = None
    not_exhaustive: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Detections:
    """Detected boxes of one image with label and score, in any order; of equal scores the earlier one ranks first."""

    boxes_xyxy_px: Float[np.ndarray, "n 4"]
    labels: Integer[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        """Check that the fields agree.

        Raises:
            InputError: shapes that disagree, a NaN, an infinite edge or a negative label.
        """
        require_shape("boxes_xyxy_px", self.boxes_xyxy_px, "n xyxy", xyxy=4)
        require_finite("boxes_xyxy_px", self.boxes_xyxy_px)
        require_shape("labels", self.labels, "n", n=len(self.boxes_xyxy_px))
        require_integers("labels", self.labels, low=0)
        require_shape("scores", self.scores, "n", n=len(self.boxes_xyxy_px))
        require_scores("scores", self.scores)

    def best(self, most: int) -> Detections:
        """Return the detections of highest score."""
        rows = np.argsort(-self.scores, kind="stable")[:most]
        return Detections(self.boxes_xyxy_px[rows], self.labels[rows], self.scores[rows])


class AveragePrecision:
    """Average precision over IoU .5 to .95, accumulated image by image.

    Args:
        most: detections of an image that count, those of highest score; COCO's 100, LVIS's 300.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._true: list[TrueBoxes] = []
        self._detected: list[Detections] = []

    @property
    def images(self) -> int:
        """The number of images so far."""
        return len(self._true)

    @property
    def federated(self) -> bool:
        """True if some image states which classes were looked for, so that LVIS's rules apply there."""
        return any(true.absent is not None for true in self._true)

    def add(self, true: TrueBoxes, detected: Detections) -> None:
        """Add an image; its detections of classes that nobody looked for are left out."""
        best = detected.best(self.most)
        if true.absent is not None:
            looked_for = true.absent | set(true.labels.tolist())
            rows = np.isin(best.labels, np.array(sorted(looked_for), dtype=np.int64))
            best = Detections(best.boxes_xyxy_px[rows], best.labels[rows], best.scores[rows])
        self._true.append(true)
        self._detected.append(best)

    def compute(self, groups: Mapping[str, Collection[int]] | None = None) -> dict[str, float]:
        """Average over the classes that have true boxes.

        Args:
            groups: labels that are averaged apart, by name.

        Returns:
            Shares of 1: ``ap``, ``ap50``, ``ap75``, ``ar`` (recall over all IoUs), ``ap_small``, ``ap_medium``,
            ``ap_large``, and ``ap_NAME`` of each group; what has no true boxes is left out.
        """
        per_class = self._per_class()
        names = dict.fromkeys(name for values in per_class.values() for name in values)
        results = {name: _mean(values.get(name) for values in per_class.values()) for name in names}
        for group, labels in (groups or {}).items():
            values = [per_class[label]["ap"] for label in labels if "ap" in per_class.get(label, {})]
            if values:
                results[f"ap_{group}"] = _mean(values)
        return {name: value for name, value in results.items() if value is not None}

    def _per_class(self) -> dict[int, dict[str, float]]:
        """Return the metrics of each class that has true boxes."""
        true = _by_label([each.labels for each in self._true])
        detected = _by_label([each.labels for each in self._detected])
        return {label: self._of_class(label, true[label], detected.get(label, {})) for label in sorted(true)}

    def _of_class(self, label: int, true: dict[int, np.ndarray], detected: dict[int, np.ndarray]) -> dict[str, float]:
        """Measure one class; `true` and `detected` are its rows by image."""
        images = sorted({*true, *detected})
        evaluation = _Evaluation(self.most)
        for image in images:
            evaluation.put(image, label, self._true_of(image, true), self._detected_of(image, detected))
        incomplete = {image for image in images if label in self._true[image].not_exhaustive}
        precision, recall = evaluation.of_class(label, images, incomplete)
        values = {}
        for number, suffix in enumerate(_AREAS):
            if (precision[..., number] > -1).any():
                values[f"ap{suffix}"] = float(precision[..., number].mean())
        if "ap" in values:
            values["ap50"] = float(precision[_IOU_50, :, 0].mean())
            values["ap75"] = float(precision[_IOU_75, :, 0].mean())
            values["ar"] = float(recall[:, 0].mean())
        return values

    def _true_of(self, image: int, rows_of: dict[int, np.ndarray]) -> list[dict[str, Any]]:
        true = self._true[image]
        return [
            {
                "bbox": _xywh(true.boxes_xyxy_px[row]),
                "area": float(true.areas_px[row]),
                "iscrowd": int(true.is_crowd[row]),
                "ignore": int(true.is_crowd[row]),
            }
            for row in rows_of.get(image, ())
        ]

    def _detected_of(self, image: int, rows_of: dict[int, np.ndarray]) -> list[dict[str, Any]]:
        detected, each = self._detected[image], []
        for row in rows_of.get(image, ()):
            x, y, width, height = _xywh(detected.boxes_xyxy_px[row])
            each.append({"bbox": [x, y, width, height], "area": width * height, "score": float(detected.scores[row])})
        return each


class _Evaluation(COCOeval):
    """pycocotools' evaluation of one class at a time, fed with boxes instead of files."""

    def __init__(self, most: int) -> None:
        super().__init__(iouType="bbox")
        self.params.maxDets = [most]
        self._ids = 0

    def put(self, image: int, label: int, true: list[dict[str, Any]], detected: list[dict[str, Any]]) -> None:
        """Store the boxes of an image; ids begin at 1, because 0 means unmatched."""
        for one in (*true, *detected):
            self._ids += 1
            one |= {"id": self._ids, "image_id": image, "category_id": label}
        self._gts[image, label], self._dts[image, label] = true, detected

    def of_class(
        self, label: int, images: list[int], incomplete: Collection[int]
    ) -> tuple[Float[np.ndarray, "ious recalls areas"], Float[np.ndarray, "ious areas"]]:
        """Return precision at each IoU, recall and range of areas, and the highest recall; -1 where nothing is true."""
        params = self.params
        params.catIds, params.imgIds = [label], images
        most = params.maxDets[-1]
        self.ious = {(image, label): self.computeIoU(image, label) for image in images}
        self.evalImgs = [
            self._of_image(image, label, area, most, image in incomplete) for area in params.areaRng for image in images
        ]
        self._paramsEval = copy.deepcopy(params)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            self.accumulate()
        return self.eval["precision"][:, :, 0, :, 0], self.eval["recall"][:, 0, :, 0]

    def _of_image(self, image: int, label: int, area: list[Any], most: int, incomplete: bool) -> Any:  # noqa: ANN401
        one = self.evaluateImg(image, label, area, most)
        if one is not None and incomplete:
            one["dtIgnore"] = np.logical_or(one["dtIgnore"], one["dtMatches"] == 0)
        return one


def _by_label(labels: list[np.ndarray]) -> dict[int, dict[int, np.ndarray]]:
    """Return the rows of each label, by image."""
    rows: dict[int, dict[int, np.ndarray]] = {}
    for image, each in enumerate(labels):
        for label in np.unique(each).tolist():
            rows.setdefault(label, {})[image] = np.flatnonzero(each == label)
    return rows


def _xywh(box: Float[np.ndarray, " 4"]) -> list[float]:
    x0, y0, x1, y1 = (float(edge) for edge in box)
    return [x0, y0, x1 - x0, y1 - y0]


def _mean(values: Any) -> float | None:  # noqa: ANN401 - numbers or None
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None
