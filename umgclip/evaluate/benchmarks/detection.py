"""Open-vocabulary detection: given boxes are named by the dense map, and scored by objectness and name together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms

from umgclip.evaluate.examples import Example, TrueRegion
from umgclip.evaluate.given_boxes import Boxes, GivenBoxes
from umgclip.evaluate.reader import Reader, Seen
from umgclip.evaluate.readouts.readout import RegionBatch
from umgclip.evaluate.readouts.select import readout_of
from umgclip.metrics.average_precision import AveragePrecision, Detections, TrueBoxes
from umgclip.metrics.weighted import Weighted
from umgclip.records import Region

PROTOCOL = (
    "scenes whose things have boxes; given boxes, of the proposer (made without captions) or of a file of COCO "
    "results; every box gets every class: score = objectness^a softmax^(1-a) over the things at the model's own scale; "
    "the best pairs, then suppression of overlaps within a class, then the detections of highest score; ap: COCO's "
    "average precision over IoU .5 to .95, averaged over the classes that have boxes; images with verified negatives "
    "by LVIS's federated rules; ap50, ap75; _small, _medium, _large by COCO's areas of the mask where it is known; "
    "_heldout, _seen: classes that training never labels, and the others; groups of classes that the benchmark names, "
    "as LVIS's _rare, _common, _frequent; ar: highest recall"
)
_PAIRS = 10  # pairs of box and class that go into the suppression, for each detection that counts
_COCO, _LVIS = 100, 300  # detections of an image


class DetectedByName:
    """Average precision of boxes that the model names.

    Args:
        reader: the model.
        proposals: class-agnostic regions by image key.
        given: boxes of a file, which take the place of the proposals; or None.
    """

    def __init__(
        self, reader: Reader, proposals: Mapping[str, Sequence[Region]] | None, given: GivenBoxes | None = None
    ) -> None:
        self._reader, self._proposals, self._given = reader, proposals, given
        self._params = reader.params.detection
        self._readout = readout_of(self._params.readout, reader.params)
        self._precision: AveragePrecision | None = None
        self._true = self._boxes = 0
        self._results: dict[str, float] | None = None

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Name the boxes of a batch of scenes; scenes whose boxes are unknown are left out."""
        if (self._proposals is None and self._given is None) or not self._reader.classes.things:
            return
        rows = [row for row, example in enumerate(examples) if example.regions_known]
        boxes = [self._boxes_of(examples[row]) for row in rows]
        shares = self._named(examples, seen, rows, boxes).split([len(each.scores) for each in boxes])
        for row, each, share in zip(rows, boxes, shares, strict=True):
            if self._precision is None:
                self._precision = AveragePrecision(self._most(examples[row]))
            truth = _truth(examples[row])
            self._true, self._boxes = self._true + len(truth.labels), self._boxes + len(each.scores)
            self._precision.add(truth, self._detections(each, share, self._most(examples[row])))
        self._results = None

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `ap` and its parts; nothing without true boxes or without given ones."""
        if self._precision is not None and self._true and self._boxes:
            if self._results is None:
                self._results = self._precision.compute(self._groups())
            yield from self._results.items()

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return nothing: average precision has no interval here, because each draw would be a whole evaluation."""
        return 0, {}

    def protocol(self) -> dict[str, Any]:
        """Return images, boxes, how they are scored, and by which rules; the stage adds the hash of the proposals."""
        precision = self._precision
        return {
            **self._reader.protocol(),
            **self._reader.thing_protocol(),
            "images": 0 if precision is None else precision.images,
            "true_boxes": self._true,
            "boxes": {"from": "proposals" if self._given is None else "file", "count": self._boxes},
            "score": f"objectness^{self._params.objectness:g} softmax^{1 - self._params.objectness:g}",
            "readout": {"name": self._params.readout, **self._readout.protocol(self._reader)},
            "nms_iou": self._params.nms_iou,
            "detections_per_image": None if precision is None else precision.most,
            "rules": "LVIS, federated" if precision is not None and precision.federated else "COCO",
            **({"boxes_of_other_images": self._given.elsewhere} if self._given and self._given.elsewhere else {}),
        }

    def _most(self, example: Example) -> int:
        return self._params.most or (_COCO if example.negative_tags is None else _LVIS)

    def _boxes_of(self, example: Example) -> Boxes:
        """Return the boxes of an image, inside it; those without area are left out."""
        if self._given is not None:
            boxes = self._given.of_key.get(example.key, Boxes(np.zeros((0, 4)), np.zeros(0)))
        else:
            regions = [r for r in (self._proposals or {}).get(example.key, ()) if not r.is_stuff]
            edges = np.array([region.box_xyxy for region in regions], dtype=np.float64).reshape(-1, 4)
            boxes = Boxes(edges, np.array([region.score for region in regions], dtype=np.float64))
        height, width = example.pixels.shape[:2]
        edges = np.clip(boxes.boxes_xyxy_px, 0, [width, height, width, height])
        there = (edges[:, 2:] > edges[:, :2]).all(axis=1)
        return Boxes(edges[there], boxes.scores[there])

    def _named(
        self, examples: Sequence[Example], seen: Seen, rows: Sequence[int], boxes: Sequence[Boxes]
    ) -> Float[Tensor, "n things"]:
        """Return the probability of each thing for each box, in the order of the images."""
        regions = [
            (row, TrueRegion((x0, y0, x1, y1), None, -1))
            for row, each in zip(rows, boxes, strict=True)
            for x0, y0, x1, y1 in each.boxes_xyxy_px.tolist()
        ]
        if not regions:
            return self._reader.things.new_zeros((0, len(self._reader.classes.things)))
        embedded = self._readout(self._reader, RegionBatch(examples, regions, seen))[0]
        return self._reader.scoring.exclusive(embedded @ self._reader.things.T)

    def _detections(self, boxes: Boxes, share: Float[Tensor, "n things"], most: int) -> Detections:
        """Return the detections of one image: pairs of a box and a class."""
        weight = self._params.objectness
        objectness = torch.from_numpy(boxes.scores).float()[:, None]
        scores = (objectness**weight * share ** (1 - weight)).flatten()
        best = _highest(scores, _PAIRS * most)
        box, label = best // max(1, share.shape[1]), best % max(1, share.shape[1])
        edges = torch.from_numpy(boxes.boxes_xyxy_px)[box]
        if self._params.nms_iou is not None:
            apart = batched_nms(edges.float(), scores[best], label, self._params.nms_iou)
            best, edges, label = best[apart], edges[apart], label[apart]
        return Detections(edges.numpy(), label.numpy(), scores[best].double().numpy()).best(most)

    def _groups(self) -> dict[str, list[int]]:
        classes = self._reader.classes
        held_out = classes.held_out_mask()
        groups = {
            name: [classes.things.index(c) for c in classes.things if c in m] for name, m in classes.groups.items()
        }
        if held_out.any():
            groups |= {"seen": np.flatnonzero(~held_out).tolist(), "heldout": np.flatnonzero(held_out).tolist()}
        return groups


def _highest(scores: Float[Tensor, " n"], most: int) -> Int[Tensor, " m"]:
    """Return the places of the highest scores, highest first; of equal ones the first."""
    return scores.argsort(descending=True, stable=True)[:most]


def _truth(example: Example) -> TrueBoxes:
    things = example.things
    edges = np.array([thing.box_xyxy for thing in things], dtype=np.float64).reshape(-1, 4)
    areas = np.prod(edges[:, 2:] - edges[:, :2], axis=1)
    masks = np.array([np.nan if thing.mask is None else float(thing.mask.sum()) for thing in things])
    return TrueBoxes(
        edges,
        np.array([thing.label for thing in things], dtype=np.int64),
        np.where(np.isnan(masks), areas, masks),
        np.array([thing.is_crowd for thing in things], dtype=np.bool_),
        None if example.negative_tags is None else frozenset(example.negative_tags),
        frozenset(example.not_exhaustive),
    )
