"""Quality of the annotator: its regions on the benchmark's scenes against the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.evaluate.examples import Classes, Example
from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import MANIFEST
from umgclip.metrics.detection import NO_LABEL, Annotations, AnnotatorQuality
from umgclip.records import Region, stored_record

PROTOCOL = (
    "scenes; truth: the things that may be labelled (not held out); predictions: the annotator's labelled regions, "
    "stuff left out, ranked by label score (a held-out label counts as none); a box matches above the IoU threshold; "
    "precision: labelled regions with the right box and label; recall: true things so found; label_precision: right "
    "labels among matched boxes; mask_iou: over matched pairs, where every thing has a mask; box_recall: true things "
    "that any kept region matches, labelled or not"
)


def read_proposals(folder: Path) -> dict[str, list[Region]]:
    """Read the annotator's regions of the benchmark's images, by image key.

    A benchmark of single objects alone has none.

    Raises:
        DataError: the folder holds no annotated benchmark, or a damaged one.
    """
    if not (folder / MANIFEST).is_file():
        raise DataError(
            f"{folder}: expected the annotator's proposals on the benchmark ({MANIFEST}), found none; "
            f"run: umgclip annotate"
        )
    return {
        raw.key: stored_record(raw.json, key=raw.key, where=f"{folder / shard}:{raw.key}").regions or []
        for shard, raw in read_raw(folder, may_be_empty=True)
    }


def check_proposals(regions: Sequence[Region], example: Example, folder: Path) -> None:
    """Check that the masks of an image's proposals have the image's size.

    Raises:
        DataError: a mask has another size.
    """
    for region in regions:
        size = example.pixels.shape[:2]
        if region.mask is not None and region.mask.size != size:
            raise DataError(
                f"{folder}: {example.key}: region {region.id}: expected a mask of size {size}, as the benchmark's "
                f"image, got {region.mask.size}; annotate the benchmark again"
            )


class AnnotatorBenchmark:
    """Agreement of the annotator's labels, boxes and masks with the truth, over all scenes.

    Args:
        classes: the benchmark's classes.
        iou_threshold: boxes match above this IoU.
    """

    def __init__(self, classes: Classes, iou_threshold: float) -> None:
        self._classes = classes
        self._labelled = AnnotatorQuality(iou_threshold)
        self._proposed = AnnotatorQuality(iou_threshold)
        self._true = 0
        self._masked = True

    def add(self, examples: Sequence[Example], proposals: Mapping[str, Sequence[Region]]) -> None:
        """Count the annotator's regions on a batch of scenes."""
        held_out = self._classes.held_out_mask()
        for example in examples:
            size = example.pixels.shape[:2]
            things = [region for region in example.things if not held_out[region.label]]
            self._masked &= all(region.mask is not None for region in things)
            masks = [np.zeros(size, dtype=np.bool_) if region.mask is None else region.mask for region in things]
            truth = _annotations([r.box_xyxy for r in things], [r.label for r in things], None, masks, size)
            self._true += len(things)
            proposed = [region for region in proposals.get(example.key, ()) if not region.is_stuff]
            labelled = [region for region in proposed if self._label(region) != NO_LABEL]
            # two passes: an unlabelled proposal must not take a true box from a labelled one
            self._labelled.update(
                self._of(labelled, [(region.tags or [])[0].score for region in labelled], size), truth
            )
            self._proposed.update(self._of(proposed, [region.score for region in proposed], size), truth)

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield the fractions of `AnnotatorQuality` that are defined; without true things, none."""
        if not self._true:
            return
        quality = {**self._labelled.compute(), "box_recall": self._proposed.compute()["box_recall"]}
        for name in ("precision", "recall", "box_recall", "label_precision", "mask_iou"):
            if not math.isnan(quality[name]) and (self._masked or name != "mask_iou"):
                yield name, quality[name]

    def _label(self, region: Region) -> int:
        """Return the index of a region's label; labels outside the benchmark's classes share one more index."""
        if not region.tags or region.tags[0].text in self._classes.held_out:
            return NO_LABEL
        name = region.tags[0].text
        return self._classes.things.index(name) if name in self._classes.things else len(self._classes.things)

    def _of(self, regions: Sequence[Region], scores: Sequence[float], size_hw: tuple[int, ...]) -> Annotations:
        masks = [
            np.zeros(size_hw, dtype=np.bool_) if region.mask is None else mask_ops.decode(region.mask)
            for region in regions
        ]
        labels = [self._label(region) for region in regions]
        return _annotations([region.box_xyxy for region in regions], labels, scores, masks, size_hw)


def _annotations(
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    scores: Sequence[float] | None,
    masks: Sequence[np.ndarray],
    size_hw: tuple[int, ...],
) -> Annotations:
    return Annotations(
        boxes_xyxy_px=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        scores=None if scores is None else np.array(scores, dtype=np.float64),
        masks=np.stack(masks) if masks else np.zeros((0, *size_hw), dtype=np.bool_),
    )
