"""Panoptic quality of the scenes: segments from the truth or from the annotator's proposals, names from the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from umgclip.evaluate.benchmark import Classes, Example
from umgclip.evaluate.reader import Reader, Seen, read_masks
from umgclip.geometry import masks as mask_ops
from umgclip.metrics.panoptic import PanopticQuality
from umgclip.records import Region

PROTOCOL = (
    "scenes; true_masks: each true segment is named by the dense map pooled over it, a thing among the things, stuff "
    "among the stuff; proposals: the proposer's masks, made without captions, by falling objectness, each keeping the "
    "pixels that none before it took, dropped if too little of it is left or if its best thing's softmax probability "
    "among things and stuff is below the least score; all that is left over is one stuff segment; PQ, SQ, RQ as "
    "panopticapi"
)
Masks = Sequence[Bool[np.ndarray, "h w"]]


@dataclass(frozen=True)
class PanopticMap:
    """Segment id of each pixel (0: none) and each segment's label."""

    ids: Int32[np.ndarray, "h w"]
    label_of: dict[int, int]


class Panoptic:
    """Panoptic quality with true masks and with proposals.

    Args:
        reader: the model.
        proposals: the annotator's regions by image key; an image without an entry has none.
    """

    def __init__(self, reader: Reader, proposals: Mapping[str, Sequence[Region]]) -> None:
        self._reader = reader
        self._proposals = proposals
        things = range(len(reader.classes.things))
        categories = range(max(1, len(reader.classes.names)))  # a benchmark without classes adds nothing
        self._quality = {name: PanopticQuality(categories, things) for name in ("true_masks", "proposals")}

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Count a batch of scenes."""
        for example, dense in zip(examples, seen.dense, strict=True):
            ids, label_of = example.segments
            if not label_of:
                continue
            truth = {segment: (label, False) for segment, label in label_of.items()}
            found = {
                "true_masks": name_true_masks(self._reader, dense, example),
                "proposals": name_proposals(self._reader, dense, example, self._proposals.get(example.key, ())),
            }
            for name, predicted in found.items():
                self._quality[name].update(predicted.ids, predicted.label_of, ids, truth)

    def results(self) -> Iterator[tuple[str, float]]:
        """`pq_`, `sq_` and `rq_`, each of `true_masks` and `proposals`; nothing if there is no true segment."""
        for name, quality in self._quality.items():
            if any(tally.count() for tally in quality.tallies.values()):
                found = quality.compute()
                for metric in ("pq", "sq", "rq"):
                    yield f"{metric}_{name}", found[metric]


def name_true_masks(reader: Reader, dense: Float[Tensor, "d h w"], example: Example) -> PanopticMap:
    """The true segments with the names that the dense map gives them, within their kind."""
    ids, label_of = example.segments
    masks = [ids == segment for segment in label_of]
    scores = read_masks(dense, masks) @ reader.all_classes.T
    split = len(reader.classes.things)
    labels = [
        int(row[:split].argmax()) if reader.classes.is_thing(label) else split + int(row[split:].argmax())
        for row, label in zip(scores, label_of.values(), strict=True)
    ]
    return assemble(masks, labels, reader.classes, example.pixels.shape[:2])


def name_proposals(
    reader: Reader, dense: Float[Tensor, "d h w"], example: Example, proposals: Sequence[Region]
) -> PanopticMap:
    """The annotator's proposals with the names that the dense map gives them, on one ground of stuff."""
    masks = cut_proposals(proposals, example.pixels.shape[:2], reader.params.proposal_min_visible)
    labels: list[int] = []
    if masks:
        logits = reader.scale() * (read_masks(dense, masks) @ reader.all_classes.T)
        score, label = torch.softmax(logits, dim=1)[:, : len(reader.classes.things)].max(dim=1)
        sure = (score >= reader.params.proposal_min_score).tolist()
        masks = [mask for mask, keep in zip(masks, sure, strict=True) if keep]
        labels = label[sure].tolist()
    ground = ~np.any(masks, axis=0) if masks else np.ones(example.pixels.shape[:2], dtype=np.bool_)
    if ground.any() and reader.classes.stuff:
        masks = [*masks, ground]
        stuff = int((read_masks(dense, [ground]) @ reader.stuff.T).argmax())
        labels = [*labels, len(reader.classes.things) + stuff]
    return assemble(masks, labels, reader.classes, example.pixels.shape[:2])


def cut_proposals(proposals: Sequence[Region], size_hw: Sequence[int], min_visible: float) -> list[np.ndarray]:
    """Disjoint masks of the proposals of things, best score first; the higher score keeps what is shared.

    Args:
        proposals: regions; those of stuff or without a mask are passed over.
        size_hw: the image's height and width in pixels; every mask has it.
        min_visible: least share of a mask that must be left to it.
    """
    free = np.ones(tuple(size_hw), dtype=np.bool_)
    kept: list[np.ndarray] = []
    for region in sorted(proposals, key=lambda region: -region.score):
        if region.is_stuff or region.mask is None:
            continue
        mask = mask_ops.decode(region.mask)
        visible = mask & free
        if visible.sum() >= max(1.0, min_visible * mask.sum()):
            kept.append(visible)
            free &= ~visible
    return kept


def assemble(masks: Masks, labels: Sequence[int], classes: Classes, size_hw: tuple[int, ...]) -> PanopticMap:
    """Disjoint masks as one map; masks of the same stuff become one segment, as panoptic segmentation defines stuff."""
    ids = np.zeros(size_hw, dtype=np.int32)
    label_of: dict[int, int] = {}
    segment_of_stuff: dict[int, int] = {}
    for number, (mask, label) in enumerate(zip(masks, labels, strict=True), start=1):
        segment = number if classes.is_thing(label) else segment_of_stuff.setdefault(label, number)
        ids[mask] = segment
        label_of[segment] = label
    return PanopticMap(ids, label_of)
