"""Confusion matrix, mean IoU and accuracies of semantic segmentation."""

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.metrics.segmentation import SemanticAccumulator, confusion_matrix

# class 0: 2 of its 3 pixels right; class 1: 1 of 1; class 2 absent; one pixel ignored
TARGET = np.array([[0, 0, 0], [1, -1, 1]])
PRED = np.array([[0, 0, 1], [1, 2, 2]])


def slow_confusion(pred, target, classes, ignore_index):
    matrix = np.zeros((classes, classes), int)
    for p, t in zip(pred.ravel().tolist(), target.ravel().tolist(), strict=True):
        if t != ignore_index:
            matrix[t, p] += 1
    return matrix


def slow_summary(preds, targets, classes, ignore_index):
    pred, target = np.concatenate(preds), np.concatenate(targets)
    counted = target != ignore_index
    pred, target = pred[counted], target[counted]
    ious, accuracies = [], []
    for c in range(classes):
        union = ((pred == c) | (target == c)).sum()
        if union:
            ious.append(((pred == c) & (target == c)).sum() / union)
        if (target == c).any():
            accuracies.append((pred[target == c] == c).mean())
    return {
        "miou": np.mean(ious),
        "pixel_accuracy": (pred == target).mean(),
        "mean_class_accuracy": np.mean(accuracies),
    }


def test_hand_computed():
    # given
    accumulator = SemanticAccumulator(classes=4)
    # when
    accumulator.update(PRED, TARGET)
    # then rows are the truth; the ignored pixel is nowhere
    assert accumulator.matrix.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    # class 2 is predicted only: IoU 0, counted; class 3 is nowhere: left out
    np.testing.assert_allclose(accumulator.iou_per_class(), [2 / 3, 1 / 3, 0, np.nan])
    np.testing.assert_allclose(accumulator.accuracy_per_class(), [2 / 3, 1 / 2, np.nan, np.nan])
    assert accumulator.compute() == pytest.approx(
        {"miou": 1 / 3, "pixel_accuracy": 3 / 5, "mean_class_accuracy": (2 / 3 + 1 / 2) / 2}
    )


def test_iou_sums_over_images_before_dividing():
    # given class 0 with IoU 1 on one pixel, and IoU 0 on three pixels of another image
    accumulator = SemanticAccumulator(classes=2)
    accumulator.update(np.array([[0]]), np.array([[0]]))
    accumulator.update(np.array([[1, 1, 1]]), np.array([[0, 0, 0]]))
    assert accumulator.iou_per_class().tolist() == [0.25, 0.0]


def test_ignored_class_in_range_and_prediction_out_of_range_there():
    assert confusion_matrix(np.array([[7, 1]]), np.array([[0, 1]]), 2, ignore_index=0).tolist() == [[0, 0], [0, 1]]


def test_small_dtypes_do_not_overflow():
    pixel = np.array([[149]], dtype=np.uint8)
    assert confusion_matrix(pixel, pixel, 150, ignore_index=255)[149, 149] == 1


@pytest.mark.parametrize("ignore_index", [-1, 0])
@pytest.mark.parametrize("seed", range(6))
def test_equals_slow_oracle(seed, ignore_index):
    rng = np.random.default_rng(seed)
    accumulator = SemanticAccumulator(6, ignore_index)
    preds = [rng.integers(0, 5, (7, 9)) for _ in range(3)]
    targets = [rng.integers(-1 if ignore_index == -1 else 0, 4, (7, 9)) for _ in range(3)]
    for pred, target in zip(preds, targets, strict=True):
        np.testing.assert_array_equal(
            confusion_matrix(pred, target, 6, ignore_index), slow_confusion(pred, target, 6, ignore_index)
        )
        accumulator.update(pred, target)
    assert accumulator.compute() == pytest.approx(slow_summary(preds, targets, 6, ignore_index))


def test_equals_torchmetrics():
    classification = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    # class 5 is nowhere, class 4 is predicted only: torchmetrics follows the same rule
    pred, target = rng.integers(0, 5, (20, 30)), rng.integers(-1, 4, (20, 30))
    accumulator = SemanticAccumulator(6)
    accumulator.update(pred, target)
    pair = torch.from_numpy(pred)[None], torch.from_numpy(target)[None]
    got = accumulator.compute()
    want = classification.multiclass_jaccard_index(*pair, num_classes=6, ignore_index=-1, average="macro")
    assert got["miou"] == pytest.approx(float(want))
    want = classification.multiclass_accuracy(*pair, num_classes=6, ignore_index=-1, average="micro")
    assert got["pixel_accuracy"] == pytest.approx(float(want))
    want = classification.multiclass_confusion_matrix(*pair, num_classes=6, ignore_index=-1)
    np.testing.assert_array_equal(accumulator.matrix, want.numpy())


def test_nothing_counted_is_an_error():
    accumulator = SemanticAccumulator(2)
    accumulator.update(np.zeros((0, 4), int), np.zeros((0, 4), int))
    accumulator.update(np.zeros((1, 2), int), np.full((1, 2), -1))
    with pytest.raises(InputError, match="^update: expected at least one counted pixel before compute, got 0$"):
        accumulator.compute()


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        (np.zeros((2, 2), int), np.zeros(4, int), r"target: expected shape \(h, w\), got \(4,\)"),
        (np.zeros((2, 3), int), np.zeros((2, 2), int), r"pred: expected shape \(h=2, w=2\), got \(2, 3\)"),
        (np.zeros((1, 1)), np.zeros((1, 1), int), "pred: expected an integer array, got dtype float64"),
        (np.array([[2]]), np.array([[0]]), "pred: expected values below 2, got 2"),
        (np.array([[-1]]), np.array([[0]]), "pred: expected values of at least 0, got -1"),
        (np.array([[0]]), np.array([[255]]), "target: expected values below 2, got 255"),
    ],
)
@pytest.mark.usefixtures("shape_hook_off")
def test_errors_say_what_came_and_count_nothing(pred, target, message):
    accumulator = SemanticAccumulator(2)
    with pytest.raises(InputError, match=f"^{message}$"):
        accumulator.update(pred, target)
    assert not accumulator.matrix.any()


@pytest.mark.usefixtures("shape_hook_off")
@pytest.mark.parametrize("build", [SemanticAccumulator, lambda c: confusion_matrix(PRED, TARGET, c)])
def test_no_class_is_an_error(build):
    with pytest.raises(InputError, match="^classes: expected at least 1, got 0$"):
        build(0)
