"""Mask2Former, panoptic: masks of things and of stuff, with the labels of its training data."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.pictures import sizes, stretched_pictures
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.geometry import masks as mask_ops
from umgclip.params.annotators import Mask2FormerParams
from umgclip.records import Text

_MOST_PX = 1024  # longest side at which masks are compared, because every query has a mask of that size


class Mask2Former:
    """A proposer of masks with the fixed labels of a panoptic model."""

    def __init__(self, params: Mask2FormerParams, where: str) -> None:
        """Load the weights.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params = params
        self._loaded = load(params, where, "Mask2FormerForUniversalSegmentation", "AutoImageProcessor")
        self.name = self._loaded.name
        self._labels = {int(k): concept_name(str(v)) for k, v in self._loaded.model.config.id2label.items()}

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Things in falling score, then stuff; captions say nothing to it."""
        del captions
        return run_batches(images, self._params.batch, self._segment)

    def _segment(self, images: Sequence[Pixels]) -> list[list[Proposal]]:
        processor = self._loaded.processor
        inputs = processor(images=stretched_pictures(images), return_tensors="pt")
        outputs = self._loaded.model(**self._loaded.on_device(inputs))
        outputs.class_queries_logits = outputs.class_queries_logits.float()
        outputs.masks_queries_logits = outputs.masks_queries_logits.float()
        results = processor.post_process_panoptic_segmentation(
            outputs,
            threshold=self._params.threshold,
            overlap_mask_area_threshold=self._params.overlap,
            label_ids_to_fuse={label for label in self._labels if label >= self._params.things},
            target_sizes=[_limited(size) for size in sizes(images)],
        )
        return [
            self._proposals(result["segmentation"].cpu().numpy(), result["segments_info"], size)
            for result, size in zip(results, sizes(images), strict=True)
        ]

    def _proposals(self, segmentation: np.ndarray, segments: list[dict], image_hw: tuple[int, int]) -> list[Proposal]:
        proposals = []
        # the parts of a fused stuff segment are listed separately, with the same id
        best = {s["id"]: s for s in sorted(segments, key=lambda s: float(s["score"]))}
        for segment in best.values():
            mask = (segmentation == segment["id"]).astype(np.uint8)
            if mask.shape != image_hw:
                mask = cv2.resize(mask, (image_hw[1], image_hw[0]), interpolation=cv2.INTER_NEAREST)
            if not mask.any():
                continue
            score, label = float(np.clip(segment["score"], 0, 1)), int(segment["label_id"])
            tag = Text(text=self._labels[label], score=score, source=self.name)
            stored = mask_ops.encode(mask.astype(bool))
            is_stuff = label >= self._params.things
            proposals.append(Proposal(stored, score, is_stuff, (tag,), source=self.name, mask_source=self.name))
        return sorted(proposals, key=lambda p: (p.is_stuff, -p.score))


def concept_name(label: str) -> str:
    """Return the plain name of a panoptic class of COCO: `wall-other-merged` is a wall, `floor-wood` a floor wood."""
    for ending in ("-merged", "-other", "-stuff"):
        label = label.removesuffix(ending)
    return label.replace("-", " ")


def _limited(size_hw: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, _MOST_PX / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
