"""Mean average precision of tags."""

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.metrics.tagging import average_precision_per_tag, mean_average_precision


def slow_average_precision(scores, target):
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        predicted = scores >= threshold
        hits = (predicted & target).sum()
        recall = hits / target.sum()
        total += (recall - recall_before) * hits / predicted.sum()
        recall_before = recall
    return total


def random_tags(seed, levels):
    rng = np.random.default_rng(seed)
    n, c = int(rng.integers(1, 30)), int(rng.integers(1, 6))
    target = rng.random((n, c)) < 0.4
    target[0, 0] = True
    return (rng.integers(-levels, levels, (n, c)) / levels).astype(np.float32), target


def test_average_precision_by_hand():
    # given one tag, ranked right, wrong, right, wrong
    scores, target = np.array([[0.9], [0.8], [0.3], [0.1]]), np.array([[True], [False], [True], [False]])
    # then precision is 1/1 at the first right image and 2/3 at the second
    assert mean_average_precision(scores, target) == pytest.approx((1 + 2 / 3) / 2)


def test_ties_pass_the_threshold_together():
    # given a right and a wrong image of equal score, in either order
    for target in (np.array([[True], [False]]), np.array([[False], [True]])):
        assert mean_average_precision(np.array([[0.5], [0.5]]), target) == 0.5


def test_tag_without_a_positive_is_left_out():
    scores, target = np.array([[0.9, 0.9], [0.1, 0.2]]), np.array([[True, False], [False, False]])
    np.testing.assert_equal(average_precision_per_tag(scores, target), [1.0, np.nan])
    assert mean_average_precision(scores, target) == 1.0


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("levels", [1, 4, 100_000])
def test_average_precision_equals_slow_oracle(seed, levels):
    scores, target = random_tags(seed, levels)
    want = [slow_average_precision(s, t) for s, t in zip(scores.T, target.T, strict=True) if t.any()]
    assert mean_average_precision(scores, target) == pytest.approx(np.mean(want))


@pytest.mark.parametrize("levels", [4, 100_000])
def test_average_precision_equals_scikit_learn(levels):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    scores, target = random_tags(1, levels)
    present = target.any(axis=0)
    want = sklearn_metrics.average_precision_score(target[:, present], scores[:, present], average="macro")
    assert mean_average_precision(scores, target) == pytest.approx(want)


def test_equals_torchmetrics():
    classification = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores, target = rng.random((60, 5)), rng.random((60, 5)) < 0.3
    pair = torch.from_numpy(scores), torch.from_numpy(target).int()
    want = classification.multilabel_average_precision(*pair, num_labels=5, average="macro")
    assert mean_average_precision(scores, target) == pytest.approx(float(want))


@pytest.mark.parametrize(
    ("scores", "target", "message"),
    [
        (np.zeros(3), np.zeros(3, bool), r"scores: expected shape \(n, c\), got \(3,\)"),
        (np.zeros((3, 2)), np.zeros((2, 2), bool), r"target: expected shape \(n=3, c=2\), got \(2, 2\)"),
        (np.zeros((3, 2)), np.zeros((3, 2), int), "target: expected a boolean array, got dtype int64"),
        (np.zeros((0, 2)), np.zeros((0, 2), bool), r"scores: expected at least one element, got shape \(0, 2\)"),
        (np.full((1, 1), np.nan), np.ones((1, 1), bool), "scores: expected no NaN, got 1 of 1"),
        (
            np.zeros((3, 2)),
            np.zeros((3, 2), bool),
            r"target: expected at least one positive, got none in shape \(3, 2\)",
        ),
    ],
)
@pytest.mark.usefixtures("shape_hook_off")
def test_errors_say_what_came(scores, target, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        mean_average_precision(scores, target)
