"""Panoptic quality of the scenes: segments from the truth or from the annotator's proposals, names from the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.benchmarks.panoptic_map import PanopticMap, assemble
from umgclip.evaluate.benchmarks.segmented import decoder_map, dense_map_alone
from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.geometry import masks as mask_ops
from umgclip.metrics.panoptic import PanopticQuality
from umgclip.metrics.weighted import GroupedSums, Weighted, mean_of_defined, ratio
from umgclip.model.clip.readout import read_masks
from umgclip.records import Region

PROTOCOL = (
    "scenes; true_masks: each true segment is named by the dense map pooled over it, a thing among the things, stuff "
    "among the stuff; proposals: the proposer's masks, made without captions, by falling objectness, each keeping the "
    "pixels that none before it took, dropped if too little of it is left or if its best thing's softmax probability "
    "among things and stuff is below the least score; all that is left over is one stuff segment; masker: the same "
    "with the masks of another model; dense_map: connected pixels of one class in the upsampled dense map; decoder: "
    "the masks and names of `umgclip segment`; PQ, SQ, RQ as panopticapi, also of things and of stuff alone; crowds "
    "are no segments to find and excuse what lies on them"
)
_METRICS = ("pq", "sq", "rq")


class Panoptic:
    """Panoptic quality with true masks, with proposals and with the masks of other models.

    Args:
        reader: the model.
        proposals: class-agnostic regions by image key, for each proposer (`proposals` is the annotator); an image
            without an entry has none.
        segmented: whether images come with a decoder's segments, which are then scored beside those of the dense map.
    """

    def __init__(
        self, reader: Reader, proposals: Mapping[str, Mapping[str, Sequence[Region]]], *, segmented: bool = False
    ) -> None:
        self._reader, self._segmented = reader, segmented
        self._proposals = proposals
        things = range(len(reader.classes.things))
        categories = range(max(1, len(reader.classes.names)))  # without classes, no image is counted
        names = ("true_masks", *proposals, *(("dense_map", "decoder") if segmented else ()))
        self._quality = {name: PanopticQuality(categories, things) for name in names}
        self._sums = {name: GroupedSums() for name in names}

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Compare the predicted segments of a batch of scenes with the true ones."""
        for number, (example, dense) in enumerate(zip(examples, seen.dense, strict=True)):
            ids, label_of = example.segments
            if not label_of:
                continue
            truth = {segment: (label, segment in example.crowds) for segment, label in label_of.items()}
            maps = {"true_masks": name_true_masks(self._reader, dense, example)}
            for name, regions in self._proposals.items():
                maps[name] = name_proposals(self._reader, dense, example, regions.get(example.key, ()))
            if seen.segments is not None:
                maps["dense_map"] = dense_map_alone(self._reader, dense, example)
                maps["decoder"] = decoder_map(self._reader, seen.segments[number], example)
            for name, predicted in maps.items():
                tallies = self._quality[name].update(predicted.ids, predicted.label_of, ids, truth)
                values = [[t.iou_sum, t.true_positives, t.false_positives, t.false_negatives] for t in tallies.values()]
                self._sums[name].add(np.array(list(tallies), dtype=np.int64), np.array(values).reshape(-1, 4))

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `pq_`, `sq_` and `rq_` of `true_masks` and of each proposer, then of things and of stuff alone.

        Nothing is yielded without true segments, nor for things or stuff that are absent.
        """
        for name in self._measured():
            values = self._quality[name].compute()
            for suffix in ("", "_things", "_stuff"):
                for metric in _METRICS:
                    if not math.isnan(values[f"{metric}{suffix}"]):
                        yield f"{metric}{suffix}_{name}", values[f"{metric}{suffix}"]

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return PQ with each kind of masks as a function of the images' weights."""
        metrics = {f"pq_{name}": self._sums[name].weighted(_quality) for name in self._measured()}
        return (len(self._sums["true_masks"]), metrics) if metrics else (0, {})

    def protocol(self) -> dict[str, Any]:
        """Return scenes, classes, crowds and thresholds; the stage adds the hash of the proposals."""
        params = self._reader.params
        rule = {"min_score": params.proposal_min_score, "min_visible": params.proposal_min_visible}
        segmented = {"dense_map": {"masks": "connected pixels"}, "decoder": params.decoder.model_dump()}
        return {
            **self._reader.protocol(),
            **self._reader.thing_protocol(),
            **self._reader.stuff_protocol(),
            "images": len(self._sums["true_masks"]),
            "crowd": "excused",
            "masks": {
                "true_masks": {"names": "within things or stuff"},
                **{name: rule for name in self._proposals},
                **(segmented if self._segmented else {}),
            },
        }

    def _measured(self) -> list[str]:
        return [n for n, quality in self._quality.items() if any(t.count() for t in quality.tallies.values())]


def _quality(sums: Float[np.ndarray, "draws classes 4"]) -> Float[np.ndarray, " draws"]:
    iou, hits, false, missed = np.moveaxis(sums, 2, 0)
    return mean_of_defined(ratio(iou, hits + 0.5 * false + 0.5 * missed))


def name_true_masks(reader: Reader, dense: Float[Tensor, "d h w"], example: Example) -> PanopticMap:
    """Name the true segments, without crowds, by the dense map: things among things, stuff among stuff."""
    ids, every = example.segments
    label_of = {segment: label for segment, label in every.items() if segment not in example.crowds}
    if not label_of:
        return PanopticMap(np.zeros_like(ids), {})
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
    """Name the annotator's proposals by the dense map; all remaining pixels are one segment of stuff."""
    masks = cut_proposals(proposals, example.pixels.shape[:2], reader.params.proposal_min_visible)
    labels: list[int] = []
    if masks:
        shares = reader.scoring.exclusive(read_masks(dense, masks) @ reader.all_classes.T)
        score, label = shares[:, : len(reader.classes.things)].max(dim=1)
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
    """Make the masks of proposed things disjoint, best score first: the higher score keeps shared pixels.

    Args:
        proposals: regions; those of stuff or without a mask are skipped.
        size_hw: the image's height and width in pixels; every mask has it.
        min_visible: least share of a mask that must remain visible.
    """
    free = np.ones(tuple(size_hw), dtype=np.bool_)
    disjoint: list[np.ndarray] = []
    for region in sorted(proposals, key=lambda region: -region.score):
        if region.is_stuff or region.mask is None:
            continue
        mask = mask_ops.decode(region.mask)
        visible = mask & free
        if visible.sum() >= max(1.0, min_visible * mask.sum()):
            disjoint.append(visible)
            free &= ~visible
    return disjoint
