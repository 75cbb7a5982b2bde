"""Semantic segmentation of the scenes over things and stuff, from the dense map alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from umgclip.evaluate.benchmarks.refine import refine
from umgclip.evaluate.benchmarks.windows import windowed_scores
from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Reader, Seen
from umgclip.metrics.segmentation import SemanticAccumulator
from umgclip.metrics.weighted import GroupedSums, Weighted, mean_of_defined, ratio, share

PROTOCOL = (
    "scenes; cosine of each token and each class prompt (things and stuff), upsampled bilinearly to the image, argmax; "
    "mean IoU over the classes that are true or predicted somewhere; mean_class_accuracy over those that are true; "
    "pixels of no true region are left out; window: the image is read in overlapping windows, whose scores are "
    "averaged; refined: the upsampled scores are averaged over pixels of like colour (PAMR) before the argmax"
)
IGNORE = -1


class Semantic:
    """Mean IoU and pixel accuracy over all pixels of the scenes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._sums, self._refined_sums = GroupedSums(), GroupedSums()
        self._accumulator, self._refined, self._decoder = (
            SemanticAccumulator(max(1, len(reader.classes.names)), IGNORE) for _ in range(3)
        )

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Compare the predicted and true labels of a batch of scenes."""
        for number, (example, dense) in enumerate(zip(examples, seen.dense, strict=True)):
            if not example.segments[1]:
                continue
            windowed = self._reader.params.semantic.window_px is not None
            scores = windowed_scores(self._reader, example) if windowed else class_scores(self._reader, dense)
            predicted = labels_of(self._reader, scores, example.pixels.shape[:2])
            truth = true_labels(example)
            _count(self._sums, self._accumulator.update(predicted, truth))
            if self._reader.params.semantic.refine is not None:
                refined = labels_of(self._reader, scores, example.pixels.shape[:2], example.pixels)
                _count(self._refined_sums, self._refined.update(refined, truth))
            if seen.segments is not None:
                self._decoder.update(seen.segments[number].semantic().numpy(), truth)

    def results(self) -> Iterator[tuple[str, float]]:
        """Yield `miou`, `pixel_accuracy` and `mean_class_accuracy`; nothing without true pixels.

        With `semantic.refine` also `miou_refined` and `pixel_accuracy_refined`, with a decoder `miou_decoder`.
        """
        if self._accumulator.matrix.any():
            values = self._accumulator.compute()
            for name in ("miou", "pixel_accuracy", "mean_class_accuracy"):
                yield name, values[name]
        if self._refined.matrix.any():
            refined = self._refined.compute()
            for name in ("miou", "pixel_accuracy"):
                yield f"{name}_refined", refined[name]
        if self._decoder.matrix.any():
            yield "miou_decoder", self._decoder.compute()["miou"]

    def weighted(self) -> tuple[int, dict[str, Weighted]]:
        """Return `miou`, `pixel_accuracy` and, with `semantic.refine`, `miou_refined`."""
        if not self._accumulator.matrix.any():
            return 0, {}
        metrics = {
            "miou": self._sums.weighted(_mean_iou),
            "pixel_accuracy": self._sums.weighted(lambda sums: share(sums, 1)),
        }
        if len(self._refined_sums):
            metrics["miou_refined"] = self._refined_sums.weighted(_mean_iou)
        return len(self._sums), metrics

    def protocol(self) -> dict[str, Any]:
        """Return scenes, classes, windows and the treatment of background."""
        params = self._reader.params.semantic
        return {
            **self._reader.protocol(),
            **self._reader.thing_protocol(),
            **self._reader.stuff_protocol(),
            "images": len(self._sums),
            "window_px": params.window_px or "none",
            "window_stride_px": params.stride_px or "none",
            "window_short_px": params.short_px or "none",
            "background": params.background or "no class of its own",
            "background_threshold": params.background_threshold if params.background else "none",
            **({"refined": {params.refine: {"classes": params.refine_classes}}} if params.refine else {}),
            "ignored": "pixels of no true region",
        }


def _count(sums: GroupedSums, matrix: Int64[np.ndarray, "classes classes"]) -> None:
    """Add the intersection and the true and predicted pixels of each class that one image has."""
    true, predicted = matrix.sum(1), matrix.sum(0)
    present = np.flatnonzero(true + predicted)
    values = np.stack([np.diag(matrix), true, predicted], axis=1)[present]
    sums.add(present, values.astype(np.float64))


def _mean_iou(sums: Float[np.ndarray, "draws classes 3"]) -> Float[np.ndarray, " draws"]:
    shared, true, predicted = np.moveaxis(sums, 2, 0)
    return mean_of_defined(ratio(shared, true + predicted - shared))


@torch.inference_mode()
def class_scores(reader: Reader, dense: Float[Tensor, "d h w"]) -> Float[Tensor, "classes h w"]:
    """Return the cosine of each token with each class."""
    return torch.einsum("cd,dhw->chw", reader.all_classes, dense)


def label_map(
    reader: Reader, dense: Float[Tensor, "d h w"], size_hw: Sequence[int]
) -> Int64[np.ndarray, "height width"]:
    """Return the label that the dense map gives to each pixel of an image of a size."""
    return labels_of(reader, class_scores(reader, dense), size_hw)


@torch.inference_mode()
def labels_of(
    reader: Reader,
    scores: Float[Tensor, "classes h w"],
    size_hw: Sequence[int],
    refined_by: UInt8[np.ndarray, "height width 3"] | None = None,
) -> Int64[np.ndarray, "height width"]:
    """Return the best class of each pixel; background, if it is a class, also where no other reaches the threshold.

    Args:
        reader: the model with the classes.
        scores: cosines of cells and classes.
        size_hw: height and width of the image.
        refined_by: the image, if the scores shall follow its edges; only the `semantic.refine_classes` classes that
            score best somewhere are then considered.
    """
    if refined_by is None:
        classes = torch.arange(len(scores))
    else:
        best = scores.flatten(1).amax(1).topk(min(reader.params.semantic.refine_classes, len(scores)))
        classes = best.indices.sort().values
    # channels last: upsampling and argmax then read memory in order, which is several times faster
    stacked = scores[classes][None].contiguous(memory_format=torch.channels_last)
    upsampled = F.interpolate(stacked, tuple(size_hw), mode="bilinear", align_corners=False)[0]
    if refined_by is not None:
        pixels = torch.from_numpy(refined_by.astype(np.float32) / 255).movedim(2, 0)
        upsampled = refine(upsampled.contiguous(), pixels.contiguous())
    name, least = reader.params.semantic.background, reader.params.semantic.background_threshold
    upsampled = upsampled.permute(1, 2, 0)
    if name is None or least is None:
        return classes.numpy()[upsampled.numpy().argmax(-1)]
    ground = reader.classes.names.index(name)
    upsampled[..., classes == ground] = -torch.inf
    sure = reader.scoring.exclusive(upsampled).amax(-1) >= least
    return torch.where(sure, classes[upsampled.argmax(-1)], ground).numpy()


def true_labels(example: Example) -> Int64[np.ndarray, "h w"]:
    """Return the true label of each pixel, `IGNORE` where there is none."""
    ids, label_of = example.segments
    table = np.full(ids.max() + 1, IGNORE, dtype=np.int64)
    for segment, label in label_of.items():
        table[segment] = label
    return table[ids]
