"""A detector of named things: a model, labels, and where regions come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.errors import InputError
from umgclip.inference.arguments import listed_texts
from umgclip.inference.detecting.candidates import BUILT_IN, Candidates, Pixels, Proposer, check_proposer, propose
from umgclip.inference.detecting.duplicates import distinct
from umgclip.inference.detecting.regions import DetectedRegions
from umgclip.inference.detecting.scoring import BACKGROUND, THRESHOLD, name_regions
from umgclip.inference.request_values import is_number, short
from umgclip.model.clip.reader import Scoring
from umgclip.model.clip.readout import cell_weights, pool_boxes, pool_masks_of_one

if TYPE_CHECKING:
    Words = Sequence[str] | str
    Number = float
    Whole = int
else:  # checked by `DetectSettings`, with its own messages
    Words = Number = Whole = Any


@dataclass(frozen=True)
class DetectSettings:
    """Settings of a detector that decide which regions are reported.

    Attributes:
        threshold: least confidence of a detection, 0 to 1.
        background: words that the labels compete with: what else may be in the pictures; empty: nothing.
        overlap: IoU above which two regions are the same thing, whatever their labels; 1: never.
        part: share of a region inside another one with the same label above which it is the same thing; 1: never.
        most: most detections of an image.
    """

    threshold: Number = THRESHOLD
    background: Words = BACKGROUND
    overlap: Number = 0.5
    part: Number = 0.7
    most: Whole = 100

    def __post_init__(self) -> None:
        for name in ("threshold", "overlap", "part"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value <= 1:
                raise InputError(f"{name}: expected a number from 0 to 1, got {short(value)}")
            object.__setattr__(self, name, float(value))
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 1:
            raise InputError(f"most: expected a whole number of at least 1, got {short(self.most)}")
        words = listed_texts(self.background, "background", empty_allowed=False)
        object.__setattr__(self, "background", tuple(words))

    @classmethod
    def of(cls, options: dict[str, Any]) -> DetectSettings:
        """Return the settings that keyword arguments describe; None stands for the default.

        Raises:
            InputError: there is no such setting, or a value is not allowed.
        """
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in options if name not in names]:
            raise InputError(f"detect: expected one of the settings {', '.join(names)}, got {unknown[0]!r}")
        return cls(**{name: value for name, value in options.items() if value is not None})


def checked_labels(value: Any) -> list[str]:  # noqa: ANN401 - checked here
    """Return labels as a list, each of them once.

    Raises:
        InputError: there is none, one is empty or no text, or two differ at most in case and white space.
    """
    labels = listed_texts(value, "labels", empty_allowed=False)
    if not labels:
        raise InputError("labels: expected at least one text, got none")
    first: dict[str, int] = {}
    for index, label in enumerate(labels):
        earlier = first.setdefault(_key(label), index)
        if earlier != index:
            raise InputError(
                f"labels[{index}]: expected labels that differ, got {short(label)}, which is labels[{earlier}] again"
            )
    return labels


@dataclass(frozen=True, eq=False)
class ModelParts:
    """The parts of a model that a detector works with.

    Attributes:
        read: returns the dense map of each of some images.
        embed: returns the embedding of each of some names, in the model's prompt.
        scoring: the model's scale.
        box_share: share of a box's sides that is read.
    """

    read: Callable[[Sequence[Pixels]], list[Tensor]]
    embed: Callable[[Sequence[str]], Tensor]
    scoring: Scoring
    box_share: float


@dataclass(frozen=True, eq=False)
class Detector:
    """A model that looks for some labels in images; `Model.detector` makes it.

    Attributes:
        model: the parts of the model.
        labels: what is looked for.
        texts: embeddings of the labels, and of the words that they compete with.
        proposer: where regions come from; see `umgclip.inference.detecting.candidates.propose`.
        settings: which regions are reported.
    """

    model: ModelParts
    labels: tuple[str, ...]
    texts: tuple[Float[Tensor, "l d"], Float[Tensor, "b d"]]
    proposer: Proposer = BUILT_IN
    settings: DetectSettings = DetectSettings()

    def __post_init__(self) -> None:
        check_proposer(self.proposer)

    def find(self, images: Sequence[Pixels], given: Sequence[Candidates | None] | None = None) -> list[DetectedRegions]:
        """Return the detections in each image; the images are read in one forward pass.

        Args:
            images: upright RGB pixels.
            given: regions of each image that are looked at instead of proposals; None: proposals.

        Raises:
            InputError: a proposer's regions are wrong; names the first.
            DataError: the model's weights are damaged.
        """
        if not images:
            return []
        regions = [
            propose(self.proposer, pixels) if one is None else one
            for pixels, one in zip(images, given or [None] * len(images), strict=True)
        ]
        return [
            self._of_image(pixels, dense, one)
            for pixels, dense, one in zip(images, self.model.read(images), regions, strict=True)
        ]

    def _of_image(self, pixels: Pixels, dense: Float[Tensor, "d h w"], regions: Candidates) -> DetectedRegions:
        size_wh = pixels.shape[1], pixels.shape[0]
        rows, weights = self._embedded(dense, regions, size_wh)
        if not len(rows):
            return self._detected(regions, np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), size_wh)
        label_ids, named = name_regions(dense, rows, weights, self.texts, self.model.scoring)
        scores = named * np.sqrt(regions.scores)
        likely = np.flatnonzero(scores >= self.settings.threshold)
        chosen = distinct(
            _rows(regions, likely), scores[likely], label_ids[likely], self.settings.overlap, self.settings.part
        )
        best = likely[chosen][: self.settings.most]
        return self._detected(regions, best, scores, label_ids, size_wh)

    def _embedded(
        self, dense: Float[Tensor, "d h w"], regions: Candidates, size_wh: tuple[int, int]
    ) -> tuple[Float[Tensor, "r d"], Float[Tensor, "r h w"]]:
        """Return the embedding of each region, and the share of each cell that it covers."""
        grid = dense.shape[1], dense.shape[2]
        if regions.masks is not None:
            weights = cell_weights(regions.masks, grid)
            return pool_masks_of_one(dense, weights), weights
        shares = torch.from_numpy(regions.boxes_xyxy / np.array([*size_wh, *size_wh])).float().reshape(-1, 4)
        rows = pool_boxes(dense[None], shares, torch.zeros(len(shares), dtype=torch.long), self.model.box_share)
        return rows, _box_weights(shares, grid)

    def _detected(
        self,
        regions: Candidates,
        rows: np.ndarray,
        scores: np.ndarray,
        label_ids: np.ndarray,
        size_wh: tuple[int, int],
    ) -> DetectedRegions:
        masks = None
        if regions.masks is not None:
            masks = np.zeros((len(rows), size_wh[1], size_wh[0]), bool)
            for number, row in enumerate(rows):
                masks[number] = regions.masks[row]
        return DetectedRegions(
            regions.boxes_xyxy[rows].astype(np.float32).reshape(-1, 4),
            masks,
            scores[rows].astype(np.float32),
            label_ids[rows].astype(np.int64),
            self.labels,
            size_wh,
        )


def make_detector(
    model: ModelParts,
    labels: Any,  # noqa: ANN401 - checked here
    proposer: Proposer | None,
    settings: DetectSettings | None,
) -> Detector:
    """Embed labels and the words that they compete with, without those that are labels themselves.

    Raises:
        InputError: a label or the proposer is not as expected.
    """
    settings = settings or DetectSettings()
    names = checked_labels(labels)
    asked = set(map(_key, names))
    words = [word for word in settings.background if _key(word) not in asked]
    rows = model.embed([*names, *words])
    texts = rows[: len(names)], rows[len(names) :]
    return Detector(model, tuple(names), texts, BUILT_IN if proposer is None else proposer, settings)


def _key(name: str) -> str:
    """Return the form by which names are compared: without case, and with single spaces."""
    return " ".join(name.casefold().split())


def _rows(regions: Candidates, rows: np.ndarray) -> Candidates:
    masks = None if regions.masks is None else [regions.masks[row] for row in rows]
    return Candidates(regions.boxes_xyxy[rows], masks, regions.scores[rows])


def _box_weights(shares: Float[Tensor, "r 4"], grid_hw: tuple[int, int]) -> Float[Tensor, "r h w"]:
    """Return the share of each cell that each box covers, from its edges as shares of the image's sides."""
    along = [_covered(shares[:, axis], shares[:, axis + 2], size) for axis, size in ((1, grid_hw[0]), (0, grid_hw[1]))]
    return along[0][:, :, None] * along[1][:, None, :]


def _covered(low: Float[Tensor, " r"], high: Float[Tensor, " r"], size: int) -> Float[Tensor, "r n"]:
    edges = torch.arange(size + 1) / size
    inside = torch.minimum(high[:, None], edges[1:]) - torch.maximum(low[:, None], edges[:-1])
    return inside.clamp(min=0) * size
