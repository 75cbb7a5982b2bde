"""Closed detectors, DETR and RT-DETRv2, whose labels are those of their training data."""

from __future__ import annotations

from collections.abc import Sequence

from umgclip.annotate.models.detection import Detection, to_proposals
from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.pictures import sizes, stretched_pictures
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.params.annotators import DetrParams

_CLASSES = {"detr": "DetrForObjectDetection", "rt_detr_v2": "RTDetrV2ForObjectDetection"}


class Detr:
    """A proposer with the fixed labels of a closed detector."""

    def __init__(self, params: DetrParams, where: str) -> None:
        """Load the weights.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params = params
        self._loaded = load(params, where, _CLASSES[params.kind], "AutoImageProcessor")
        self.name = self._loaded.name
        self._labels = {int(k): str(v) for k, v in self._loaded.model.config.id2label.items()}

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Return boxes with labels; captions are ignored."""
        del captions
        return run_batches(images, self._params.batch, self._detect)

    def _detect(self, images: Sequence[Pixels]) -> list[list[Proposal]]:
        processor = self._loaded.processor
        inputs = processor(images=stretched_pictures(images), return_tensors="pt")
        outputs = self._loaded.model(**self._loaded.on_device(inputs))
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        results = processor.post_process_object_detection(
            outputs, threshold=self._params.threshold, target_sizes=sizes(images)
        )
        return [
            to_proposals(
                [
                    Detection(tuple(box), score, self._labels[label])
                    for box, score, label in zip(
                        result["boxes"].tolist(), result["scores"].tolist(), result["labels"].tolist(), strict=True
                    )
                ],
                size,
                self.name,
                self._params.most,
            )
            for result, size in zip(results, sizes(images), strict=True)
        ]
