"""Agreement of an automatic annotator's boxes, labels and masks with the truth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer

from umgclip.errors import InputError
from umgclip.geometry import boxes
from umgclip.metrics.inputs import require_bools, require_finite, require_integers, require_scores, require_shape

NO_LABEL = -1


@dataclass(frozen=True)
class Annotations:
    """The annotated regions of one image.

    Attributes:
        boxes_xyxy_px: left, top, right and bottom edge of each box, pixels, not inclusive.
        labels: label id of each box, 0 or more; `NO_LABEL` (-1) for a prediction without a label.
        scores: confidence of each prediction, any unit; None ranks the predictions in their order.
        masks: pixels of each region; None where there are none.
    """

    boxes_xyxy_px: Float[np.ndarray, "n 4"]
    labels: Integer[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"] | None = None
    masks: Bool[np.ndarray, "n h w"] | None = None

    def __post_init__(self) -> None:
        """Check that the fields agree.

        Raises:
            InputError: shapes that disagree, a NaN, an infinite edge, or a box whose right or bottom edge is before its
                left or top.
        """
        require_shape("boxes_xyxy_px", self.boxes_xyxy_px, "n xyxy", xyxy=4)
        require_finite("boxes_xyxy_px", self.boxes_xyxy_px)
        turned = (self.boxes_xyxy_px[:, 2:] < self.boxes_xyxy_px[:, :2]).any(axis=1)
        if turned.any():
            box = self.boxes_xyxy_px[turned][0].tolist()
            raise InputError(f"boxes_xyxy_px: expected x1 <= x2 and y1 <= y2, got {box}")
        count = len(self.boxes_xyxy_px)
        require_shape("labels", self.labels, "n", n=count)
        require_integers("labels", self.labels, low=NO_LABEL)
        if self.scores is not None:
            require_shape("scores", self.scores, "n", n=count)
            require_scores("scores", self.scores)
        if self.masks is not None:
            require_shape("masks", self.masks, "n h w", n=count)
            require_bools("masks", self.masks)


@dataclass(frozen=True)
class Matches:
    """Pairs of a predicted and a true box, in the order in which they were matched.

    Attributes:
        pred_index: index of each pair's prediction.
        true_index: index of each pair's true region.
        box_iou: IoU of the boxes, above the threshold.
        mask_iou: IoU of the masks (0 if both are empty); None unless both sides have masks.
    """

    pred_index: Int64[np.ndarray, " m"]
    true_index: Int64[np.ndarray, " m"]
    box_iou: Float[np.ndarray, " m"]
    mask_iou: Float[np.ndarray, " m"] | None


def match_annotations(pred: Annotations, true: Annotations, iou_threshold: float = 0.5) -> Matches:
    """Match predicted to true boxes one to one, greedily in score order, whatever their labels.

    Each prediction, best score first (equal scores in their order), takes the free true box of highest IoU if that is
    above the threshold. Among true boxes of equal IoU it takes one of its own label first, then the earlier one. The
    order of COCO's matching (Lin et al. 2014), across labels and with a strict threshold.

    Args:
        pred: the annotator's regions; without scores they rank in their order.
        true: the true regions, every one labelled; their scores are not used.
        iou_threshold: in [0, 1); the IoU must be above it.

    Returns:
        The pairs, with the IoU of their boxes and, if both sides have masks, of their masks.

    Raises:
        InputError: a true region without a label, masks of two sizes, or a threshold outside [0, 1).
    """
    require_integers("true.labels", true.labels, low=0)
    if not 0 <= iou_threshold < 1:
        raise InputError(f"iou_threshold: expected a number in [0, 1), got {iou_threshold}")
    if pred.masks is not None and true.masks is not None:
        require_shape("pred.masks", pred.masks, "n h w", h=true.masks.shape[1], w=true.masks.shape[2])
    iou = boxes.iou(pred.boxes_xyxy_px.astype(np.float64), true.boxes_xyxy_px.astype(np.float64))
    same_label = pred.labels[:, None] == true.labels[None, :]
    order = np.arange(len(iou)) if pred.scores is None else np.argsort(-pred.scores, kind="stable")
    free = np.ones(len(true.labels), dtype=np.bool_)
    pairs = []
    for row in order:
        candidates = np.flatnonzero(free & (iou[row] > iou_threshold))
        if candidates.size:
            best = max(candidates, key=lambda column: (iou[row, column], same_label[row, column], -column))
            free[best] = False
            pairs.append((row, best))
    pred_index, true_index = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    masks = None
    if pred.masks is not None and true.masks is not None:
        masks = _mask_iou_of_pairs(pred.masks[pred_index], true.masks[true_index])
    return Matches(pred_index, true_index, iou[pred_index, true_index], masks)


class AnnotatorQuality:
    """The quality of an annotator's regions, accumulated image by image."""

    def __init__(self, iou_threshold: float = 0.5) -> None:
        """Start with nothing counted.

        Args:
            iou_threshold: boxes match above this IoU.
        """
        self._iou_threshold = iou_threshold
        self._labelled = self._true = 0
        self._matched = self._matched_labelled = self._right = 0
        self._mask_ious: list[float] = []

    def update(self, pred: Annotations, true: Annotations) -> Matches:
        """Match and count one image's regions.

        Args:
            pred: the annotator's regions.
            true: the true regions, every one labelled.

        Returns:
            The image's pairs.

        Raises:
            InputError: as `match_annotations` raises it; nothing is counted then.
        """
        matches = match_annotations(pred, true, self._iou_threshold)
        label = pred.labels[matches.pred_index]
        self._labelled += int((pred.labels != NO_LABEL).sum())
        self._true += len(true.labels)
        self._matched += len(label)
        self._matched_labelled += int((label != NO_LABEL).sum())
        self._right += int((label == true.labels[matches.true_index]).sum())
        if matches.mask_iou is not None:
            self._mask_ious.extend(matches.mask_iou.tolist())
        return matches

    def compute(self) -> dict[str, float]:
        """Sum up the images counted so far.

        Returns:
            Fractions in [0, 1], NaN where nothing is there to divide by: ``precision`` (labelled predictions that are
            matched and rightly labelled), ``recall`` (true regions matched by a rightly labelled prediction),
            ``box_recall`` (true regions matched, whatever the label), ``label_precision`` (matched and labelled
            predictions whose label is right), ``mask_iou`` (mean over the matched pairs that have masks).

        Raises:
            InputError: no labelled prediction and no true region was counted.
        """
        if self._labelled + self._true == 0:
            raise InputError("update: expected at least one labelled prediction or true region before compute, got 0")
        return {
            "precision": _fraction(self._right, self._labelled),
            "recall": _fraction(self._right, self._true),
            "box_recall": _fraction(self._matched, self._true),
            "label_precision": _fraction(self._right, self._matched_labelled),
            "mask_iou": _fraction(sum(self._mask_ious), len(self._mask_ious)),
        }


def _mask_iou_of_pairs(
    pred_masks: Bool[np.ndarray, "m h w"], true_masks: Bool[np.ndarray, "m h w"]
) -> Float[np.ndarray, " m"]:
    shared = np.count_nonzero(pred_masks & true_masks, axis=(1, 2))
    union = np.count_nonzero(pred_masks | true_masks, axis=(1, 2))
    iou: np.ndarray = shared / np.maximum(union, 1)
    return iou


def _fraction(part: float | int, whole: int) -> float:
    return part / whole if whole else float("nan")
