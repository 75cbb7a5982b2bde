"""A segmenter's masks of an image, and the panoptic and semantic maps that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.model.segmenter.ensemble import ensemble
from umgclip.model.segmenter.network import Queries, Segmenter

_INSIDE = 0.5  # probability from which a pixel belongs to a mask
_SAME = 0.5  # IoU from which two masks are of the same thing


@dataclass(frozen=True)
class Segments:
    """The masks of one image with their scores.

    Attributes:
        masks: probability of each pixel, at the resolution asked for.
        names: probabilities of the names, which sum to 1.
        objectness: probability that the mask is of anything at all.
    """

    masks: Float[Tensor, "q h w"]
    names: Float[Tensor, "q names"]
    objectness: Float[Tensor, " q"]

    def cpu(self) -> Segments:
        """Return a copy on the CPU."""
        return Segments(self.masks.cpu(), self.names.cpu(), self.objectness.cpu())

    def within(self, size_hw: tuple[int, int]) -> Segments:
        """Return the masks without the padding right of and below a size."""
        return Segments(self.masks[:, : size_hw[0], : size_hw[1]], self.names, self.objectness)

    def semantic(self) -> Int[Tensor, "h w"]:
        """Return the name of each pixel: that with the largest sum over masks (Cheng et al., NeurIPS 2021)."""
        weights = self.names * self.objectness[:, None]
        return (weights.T @ self.masks.flatten(1)).argmax(dim=0).unflatten(0, self.masks.shape[1:])

    def panoptic(self, min_score: float, min_visible: float) -> tuple[Int[Tensor, "h w"], list[int]]:
        """Return disjoint segments: each pixel's segment number (from 1; 0 is none), and each segment's name.

        A pixel goes to the mask with the largest product of score and probability, as in MaskFormer.

        Args:
            min_score: least probability of a mask's best name, being an object included.
            min_visible: least share of a mask that better ones leave to it.
        """
        ids = torch.zeros(self.masks.shape[1:], dtype=torch.long)
        scores, selected, names = self._distinct(min_score)
        if not len(selected):
            return ids, []
        masks = self.masks[selected]
        best = (scores[selected, None, None] * masks).argmax(dim=0)
        labels: list[int] = []
        for row, label in enumerate(names.tolist()):
            inside = masks[row] >= _INSIDE
            visible = inside & (best == row)
            if visible.any() and visible.sum() >= min_visible * inside.sum():
                labels.append(label)
                ids[visible] = len(labels)
        return ids, labels

    def _distinct(self, min_score: float) -> tuple[Float[Tensor, " q"], Int[Tensor, " kept"], Int[Tensor, " kept"]]:
        """Return every mask's score; one mask per group of near-equals, best first; the name of its group."""
        inside = (self.masks >= _INSIDE).flatten(1).float()
        area = inside.sum(dim=1)
        quality = (self.masks.flatten(1) * inside).sum(dim=1) / area.clamp(min=1)
        scores = quality * self.objectness * self.names.amax(dim=1).sqrt()
        shared = inside @ inside.T
        iou = shared / (area[:, None] + area[None] - shared).clamp(min=1)
        selected: list[int] = []
        for row in scores.argsort(descending=True, stable=True).tolist():
            if scores[row] >= min_score and area[row] > 0 and all(iou[row, other] < _SAME for other in selected):
                selected.append(row)
        chosen = torch.tensor(selected, dtype=torch.long)
        votes = (iou[chosen] >= _SAME) * (quality * self.objectness)
        return scores, chosen, (votes @ self.names).argmax(dim=1)


def segments_of(
    segmenter: Segmenter,
    queries: Queries,
    texts: Float[Tensor, "names d"],
    seen: Bool[Tensor, " names"],
    exponents: tuple[float, float],
) -> list[Segments]:
    """Return the segments of each image from the last layer's queries, masks at their own resolution.

    Args:
        segmenter: that made them.
        queries: of a batch.
        texts: L2-normalised embeddings of the names asked for.
        seen: which of them training masks carried.
        exponents: as in `ensemble`.
    """
    logits = segmenter.logits(queries, texts)
    trained = logits[..., :-1].softmax(dim=-1)
    frozen = (segmenter.tower.logit_scale() * (queries.pooled @ texts.T)).softmax(dim=-1)
    names = ensemble(trained, frozen, seen, exponents)
    objectness = 1 - logits.softmax(dim=-1)[..., -1]
    return [Segments(*each) for each in zip(queries.masks.sigmoid(), names, objectness, strict=True)]


def resized_to(segments: Segments, size_hw: Sequence[int]) -> Segments:
    """Return the segments with masks of another size."""
    masks = F.interpolate(segments.masks[None], tuple(size_hw), mode="bilinear", align_corners=False)[0]
    return Segments(masks, segments.names, segments.objectness)
