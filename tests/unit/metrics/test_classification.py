"""Top-k and per-class accuracy."""

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.metrics.classification import mean_per_class_accuracy, top_k_accuracy

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])


def slow_top_k(scores, target, k):
    hits = 0
    for row, true in zip(scores.tolist(), target.tolist(), strict=True):
        best_first = sorted(range(len(row)), key=lambda c: -row[c])  # sorted is stable: ties in class order
        hits += true in best_first[:k]
    return hits / len(target)


def slow_mean_per_class(scores, target):
    accuracies = []
    for c in sorted(set(target.tolist())):
        own = scores[target == c]
        accuracies.append(sum(int(np.argmax(row)) == c for row in own) / len(own))
    return sum(accuracies) / len(accuracies)


def test_hand_computed():
    # given: first sample right at once, the second third, the third second, the fourth right
    target = np.array([1, 2, 1, 0])
    # then
    assert top_k_accuracy(SCORES, target, ks=(1, 2, 3)) == {"top1": 0.5, "top2": 0.75, "top3": 1.0}
    # class 0: 1 of 1; class 1: 1 of 2; class 2: 0 of 1
    assert mean_per_class_accuracy(SCORES, target) == pytest.approx((1 + 0.5 + 0) / 3)


def test_default_keys_and_clamped_k():
    assert top_k_accuracy(SCORES, np.array([1, 2, 1, 0])) == {"top1": 0.5, "top5": 1.0}


def test_ties_rank_in_class_order():
    scores = np.zeros((3, 3))
    assert top_k_accuracy(scores, np.array([0, 1, 2]), ks=(1, 2)) == pytest.approx({"top1": 1 / 3, "top2": 2 / 3})


def test_infinite_scores_rank_at_the_ends():
    scores = np.array([[-np.inf, 0.0, np.inf]])
    assert top_k_accuracy(scores, np.array([0]), ks=(1, 2, 3)) == {"top1": 0.0, "top2": 0.0, "top3": 1.0}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("levels", [2, 1000])
def test_equals_slow_oracle(seed, levels):
    rng = np.random.default_rng(seed)
    n, c = int(rng.integers(1, 40)), int(rng.integers(1, 9))
    scores = (rng.integers(0, levels, (n, c)) / levels).astype(np.float32)
    target = rng.integers(0, c, n).astype(np.uint8)
    got = top_k_accuracy(scores, target, ks=(1, 2, 5))
    assert got == pytest.approx({f"top{k}": slow_top_k(scores, target, k) for k in (1, 2, 5)})
    assert mean_per_class_accuracy(scores, target) == pytest.approx(slow_mean_per_class(scores, target))


def test_equals_torchmetrics():
    classification = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores, target = rng.random((200, 7)), rng.integers(0, 7, 200)
    got = top_k_accuracy(scores, target, ks=(1, 3))
    for k in (1, 3):
        want = classification.multiclass_accuracy(
            torch.from_numpy(scores), torch.from_numpy(target), num_classes=7, top_k=k, average="micro"
        )
        assert got[f"top{k}"] == pytest.approx(float(want))
    want = classification.multiclass_accuracy(
        torch.from_numpy(scores), torch.from_numpy(target), num_classes=7, average="macro"
    )
    assert mean_per_class_accuracy(scores, target) == pytest.approx(float(want))


@pytest.mark.parametrize(
    ("scores", "target", "ks", "message"),
    [
        (np.zeros(3), np.zeros(3, int), (1,), r"scores: expected shape \(n, c\), got \(3,\)"),
        (np.zeros((3, 2)), np.zeros(4, int), (1,), r"target: expected shape \(n=3\), got \(4,\)"),
        (np.zeros((3, 2)), np.zeros((3, 1), int), (1,), r"target: expected shape \(n=3\), got \(3, 1\)"),
        (np.zeros((0, 2)), np.zeros(0, int), (1,), r"scores: expected at least one element, got shape \(0, 2\)"),
        (np.full((1, 2), np.nan), np.zeros(1, int), (1,), "scores: expected no NaN, got 2 of 2"),
        (np.zeros((1, 2), int), np.zeros(1, int), (1,), "scores: expected a floating point array, got dtype int64"),
        (np.zeros((1, 2)), np.array([2]), (1,), "target: expected values below 2, got 2"),
        (np.zeros((1, 2)), np.array([-1]), (1,), "target: expected values of at least 0, got -1"),
        (np.zeros((1, 2)), np.zeros(1), (1,), "target: expected an integer array, got dtype float64"),
        (np.zeros((1, 2)), np.zeros(1, int), (0,), r"ks: expected one or more integers of at least 1, got \(0,\)"),
        (np.zeros((1, 2)), np.zeros(1, int), (), r"ks: expected one or more integers of at least 1, got \(\)"),
    ],
)
@pytest.mark.usefixtures("shape_hook_off")
def test_errors_say_what_came(scores, target, ks, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        top_k_accuracy(scores, target, ks)
