"""The estimate of the labels' precision, against simulated labels whose truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from umgclip.annotate.calibration.evidence import BoxCurve, LabelEvidence, Pasted
from umgclip.annotate.calibration.precision import estimate

NOTHING = np.zeros(0)
NONE_PASTED = Pasted(0, NOTHING, np.zeros(0, bool))


def evidence(**changes) -> LabelEvidence:
    given = {
        "images": 9, "labels": NOTHING, "names": 0, "won": NOTHING, "decoys": 0, "decoys_won": NOTHING,
        "pasted": (NONE_PASTED, NONE_PASTED),
    }  # fmt: skip
    return LabelEvidence(**{**given, **changes})


def test_decoys_tell_which_share_of_labels_is_false():
    some = evidence(names=10, won=np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.2]), decoys=10, decoys_won=np.array([0.25, 0.1]))
    # 4 of 10 names are idle, as 8 of 10 decoys are: half of the names have no region of their own
    assert some.null_share == pytest.approx(0.5)
    assert some.false_share(0.0) == pytest.approx(0.5 * 2 / 6)
    assert some.false_share(0.2) == pytest.approx(0.5 * 1 / 6)
    assert some.false_share(0.3) == 0


def test_decoys_count_by_how_many_there_were():
    few = evidence(names=10, won=np.full(5, 0.5), decoys=5, decoys_won=np.array([0.5]))
    # a fifth of the decoys win, so a fifth of the names without a region do: 0.625 of 10 names, 1.25 labels of 5
    assert few.null_share == pytest.approx(0.5 / 0.8)
    assert few.false_share(0.0) == pytest.approx(0.625 * 0.2 / 0.5)


def test_without_decoys_nothing_is_vouched_for():
    assert evidence(names=4, won=np.full(4, 0.5)).false_share(0.0) == 1
    assert evidence(names=4, won=np.full(4, 0.5), decoys=4).false_share(0.6) == 1


def test_the_curve_of_boxes_is_the_one_that_made_them():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.02, 0.6, 4000)
    curve = BoxCurve(4.0, 1.5)
    fitted = BoxCurve.fit(scores, rng.random(4000) < curve.probability(scores), np.full(4000, 0.5))
    assert (fitted.intercept, fitted.slope) == pytest.approx((4.0, 1.5), abs=0.25)


def test_a_better_score_is_never_taken_for_a_worse_box():
    scores = np.linspace(0.1, 0.9, 50)
    curve = BoxCurve.fit(scores, scores < 0.5, np.ones(50))
    assert curve.slope == 0
    assert curve.probability(np.array([0.1, 0.9])) == pytest.approx([0.5, 0.5])


def test_labels_of_no_weight_do_not_count():
    scores = np.tile([0.1, 0.5], 200)
    right = np.arange(400) % 4 > 1
    parts = np.where(np.arange(400) < 200, 1.0, 0.0)
    alone = BoxCurve.fit(scores[:200], right[:200], np.ones(200))
    assert BoxCurve.fit(scores, np.where(parts > 0, right, scores > 0.3), parts) == alone


@pytest.mark.parametrize(("named", "part"), [(9, 1.0), (6, 0.5), (1, 0.0)])
def test_pasted_objects_are_as_hard_to_see_as_real_ones(named, part):
    easy = Pasted(10, np.full(8, 0.4), np.ones(8, bool))
    hard = Pasted(10, np.full(4, 0.2), np.zeros(4, bool))
    some = evidence(names=10, won=np.full(named, 0.5), decoys=10, pasted=(easy, hard))
    scores, right, parts = some.pasted_labels()
    assert scores.tolist() == [0.4] * 8 + [0.2] * 4
    assert right.tolist() == [True] * 8 + [False] * 4
    assert parts == pytest.approx([part] * 8 + [1 - part] * 4)


def test_the_curve_is_finite_where_every_box_is_right():
    curve = BoxCurve.fit(np.linspace(0.1, 0.5, 40), np.ones(40, bool), np.ones(40))
    assert 0.9 < curve.probability(np.array([0.1]))[0] < 1


def simulated(
    rng: np.random.Generator, null_share: float, worst_box: float
) -> tuple[LabelEvidence, np.ndarray, np.ndarray]:
    """Labels of 2,000 names; those without a region of their own win as decoys do. Also their scores and truth."""
    count = 2000
    null = rng.random(count) < null_share
    true_scores, null_scores = rng.beta(2, 6, count), rng.beta(1, 12, count)
    decoy_scores = rng.beta(1, 12, count)
    has_label, decoy_has = ~null | (rng.random(count) < 0.3), rng.random(count) < 0.3
    scores = np.where(null, null_scores, true_scores)[has_label]
    boxes = BoxCurve(math.log(worst_box / (1 - worst_box)) + 3.0, 1.3)
    right = (~null)[has_label] & (rng.random(len(scores)) < boxes.probability(scores))
    share = float((~null).mean())

    def pasted(objects: int, share: float) -> Pasted:
        of_labels = rng.beta(2.5, 6, int(objects * share))
        return Pasted(objects, of_labels, rng.random(len(of_labels)) < boxes.probability(of_labels))

    measured = LabelEvidence(
        images=800, labels=scores, names=count, won=scores, decoys=count, decoys_won=decoy_scores[decoy_has],
        pasted=(pasted(1000, min(share + 0.15, 1.0)), pasted(1000, share - 0.15)),
    )  # fmt: skip
    return measured, scores, right


@pytest.mark.parametrize(("null_share", "worst_box"), [(0.2, 0.6), (0.4, 0.4), (0.7, 0.3)])
def test_the_estimate_is_near_the_truth(null_share, worst_box):
    measured, scores, right = simulated(np.random.default_rng(1), null_share, worst_box)
    result = estimate(measured, 0.7)
    for point in result.curve:
        above = scores >= point.score
        if above.sum() > 50:
            assert point.labels == above.sum()
            # false labels have the lowest scores and so the worst boxes too: counting both is rather too strict
            assert -0.08 < point.precision - right[above].mean() < 0.05
    written = scores >= result.threshold
    assert right[written].mean() > 0.7 - 2 * result.at.error
    assert result.at.precision - result.at.error >= 0.7


def test_good_labels_all_stay():
    measured, scores, _ = simulated(np.random.default_rng(2), 0.05, 0.9)
    result = estimate(measured, 0.7)
    assert result.threshold == result.bar == 0
    assert result.at.labels == len(scores)
    assert "all are written" in result.in_words()
    assert result.headline()["share"] == 1


def test_where_no_score_is_enough_no_label_is():
    measured, scores, _ = simulated(np.random.default_rng(3), 0.5, 0.5)
    wrong = replace(measured, pasted=tuple(replace(p, right=np.zeros(len(p.right), bool)) for p in measured.pasted))
    result = estimate(wrong, 0.7)
    assert result.threshold is None
    assert result.bar > scores.max()
    assert result.in_words().startswith("none: no score reaches 0.70, so things stay unlabelled")
    assert result.headline() == {"target": 0.7, "threshold": 1.0, "share": 0.0}


def test_a_small_sample_says_nothing():
    measured, *_ = simulated(np.random.default_rng(4), 0.2, 0.8)
    few = tuple(Pasted(20, p.scores[:19], p.right[:19]) for p in measured.pasted)
    assert estimate(replace(measured, pasted=few), 0.7) is None
    assert estimate(evidence(), 0.7) is None
