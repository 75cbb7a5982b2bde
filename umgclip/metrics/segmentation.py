"""Semantic segmentation: confusion matrix, mean IoU, pixel accuracy and mean class accuracy."""

import numpy as np
from jaxtyping import Float, Int64, Integer

from umgclip.errors import InputError
from umgclip.metrics.inputs import require_integers, require_shape


def confusion_matrix(
    pred: Integer[np.ndarray, "h w"], target: Integer[np.ndarray, "h w"], classes: int, ignore_index: int = -1
) -> Int64[np.ndarray, "{classes} {classes}"]:
    """Count the pixels of each (true class, predicted class).

    Pixels whose target is `ignore_index` are left out, whatever the prediction is. At every other pixel the
    prediction must be a class: "no prediction" is not one, so map it to a class (background, say) before.

    Args:
        pred: predicted class of each pixel.
        target: true class of each pixel, or `ignore_index`.
        classes: number of classes.
        ignore_index: value in `target` of the pixels to leave out; it may itself be a class.

    Returns:
        Pixel counts, row the true class, column the predicted one.

    Raises:
        InputError: fewer than one class, shapes that disagree, or a value at a counted pixel that is no class.
    """
    if classes < 1:
        raise InputError(f"classes: expected at least 1, got {classes}")
    require_shape("target", target, "h w")
    require_shape("pred", pred, "h w", h=target.shape[0], w=target.shape[1])
    counted = target != ignore_index
    true_class, pred_class = target[counted], pred[counted]
    require_integers("target", true_class, low=0, high=classes)
    require_integers("pred", pred_class, low=0, high=classes)
    # int64 first: a product of uint8 class ids would wrap
    cell = true_class.astype(np.int64) * classes + pred_class.astype(np.int64)
    return np.bincount(cell, minlength=classes * classes).reshape(classes, classes)


class SemanticAccumulator:
    """Confusion matrix of a whole benchmark, image by image, and the metrics that follow from it.

    Mean IoU as in PASCAL VOC (Everingham et al. 2015): intersections and unions are summed over all images first.

    Attributes:
        matrix: pixel counts so far, shape (classes, classes), row the true class, column the predicted one.

    Example:
        >>> scores = SemanticAccumulator(classes=2)
        >>> scores.update(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, -1]]))  # (1, 4) each; -1 is ignored
        array([[1, 0],
               [1, 1]])
        >>> scores.compute()["miou"]  # IoU 1/2 of both classes
        0.5
    """

    def __init__(self, classes: int, ignore_index: int = -1) -> None:
        """Start with no pixel counted.

        Args:
            classes: number of classes.
            ignore_index: value of the target pixels to leave out.

        Raises:
            InputError: fewer than one class.
        """
        if classes < 1:
            raise InputError(f"classes: expected at least 1, got {classes}")
        self.matrix = np.zeros((classes, classes), dtype=np.int64)
        self._ignore_index = ignore_index

    def update(
        self, pred: Integer[np.ndarray, "h w"], target: Integer[np.ndarray, "h w"]
    ) -> Int64[np.ndarray, "classes classes"]:
        """Add one image's pixels to the matrix.

        Args:
            pred: predicted class of each pixel.
            target: true class of each pixel, or the index to ignore.

        Returns:
            The image's own matrix.

        Raises:
            InputError: as `confusion_matrix` raises it; nothing is counted then.
        """
        image = confusion_matrix(pred, target, len(self.matrix), self._ignore_index)
        self.matrix += image
        return image

    def iou_per_class(self) -> Float[np.ndarray, " classes"]:
        """Intersection over union of each class.

        Returns:
            Values in [0, 1]; NaN for a class that is neither true nor predicted at any counted pixel (union 0).
        """
        return _ratio(np.diag(self.matrix), self.matrix.sum(0) + self.matrix.sum(1) - np.diag(self.matrix))

    def accuracy_per_class(self) -> Float[np.ndarray, " classes"]:
        """Fraction of each true class's pixels that are predicted right.

        Returns:
            Values in [0, 1]; NaN for a class that no counted pixel has.
        """
        return _ratio(np.diag(self.matrix), self.matrix.sum(1))

    def compute(self) -> dict[str, float]:
        """Sum up the pixels counted so far.

        ``miou`` averages IoU over the classes with a union above 0: a class that is absent from the targets but
        predicted somewhere counts as 0, one that is neither is left out. ``mean_class_accuracy`` averages over the
        classes present in the targets. ``pixel_accuracy`` is the fraction of counted pixels that are right.

        Returns:
            ``{"miou", "pixel_accuracy", "mean_class_accuracy"}``, each in [0, 1].

        Raises:
            InputError: no pixel was counted.
        """
        pixels = int(self.matrix.sum())
        if pixels == 0:
            raise InputError("update: expected at least one counted pixel before compute, got 0")
        return {
            "miou": float(np.nanmean(self.iou_per_class())),
            "pixel_accuracy": float(np.trace(self.matrix) / pixels),
            "mean_class_accuracy": float(np.nanmean(self.accuracy_per_class())),
        }


def _ratio(
    part: Integer[np.ndarray, " classes"], whole: Integer[np.ndarray, " classes"]
) -> Float[np.ndarray, " classes"]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
