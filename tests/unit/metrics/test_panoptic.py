"""Panoptic quality."""

import math

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.metrics.panoptic import PanopticQuality

PERSON, CAR, SKY = 1, 2, 3
CATEGORIES, THINGS = {PERSON, CAR, SKY}, {PERSON, CAR}


def tally_of(pred_ids, pred_segments, true_ids, true_segments):
    """(iou sum, tp, fp, fn) of each category, of one image."""
    quality = PanopticQuality(CATEGORIES, THINGS)
    quality.update(np.array(pred_ids), pred_segments, np.array(true_ids), true_segments)
    return {
        category: (tally.iou_sum, tally.true_positives, tally.false_positives, tally.false_negatives)
        for category, tally in quality.tallies.items()
        if tally.count()
    }


def slow_tally(pred_ids, pred_segments, true_ids, true_segments):
    """The definition, segment pair by segment pair, on boolean masks."""
    tally = {category: [0.0, 0, 0, 0] for category in CATEGORIES}
    void = true_ids == 0
    matched_pred, matched_true = set(), set()
    for pred_id, category in pred_segments.items():
        for true_id, (true_category, is_crowd) in true_segments.items():
            if category != true_category or is_crowd:
                continue
            pred, true = (pred_ids == pred_id) & ~void, true_ids == true_id
            union = (pred | true).sum()
            iou = (pred & true).sum() / union if union else 0.0
            if iou > 0.5:
                tally[category][0] += iou
                tally[category][1] += 1
                assert pred_id not in matched_pred
                assert true_id not in matched_true
                matched_pred.add(pred_id)
                matched_true.add(true_id)
    for pred_id, category in pred_segments.items():
        crowd = [true_id for true_id, value in true_segments.items() if value == (category, True)]
        pred = pred_ids == pred_id
        excused = (pred & (void | np.isin(true_ids, crowd))).sum() > 0.5 * pred.sum()
        tally[category][2] += pred_id not in matched_pred and not excused
    for true_id, (category, is_crowd) in true_segments.items():
        tally[category][3] += true_id not in matched_true and not is_crowd
    return {category: tuple(value) for category, value in tally.items() if sum(value[1:])}


def random_image(seed):
    """Segment maps that overlap much, with void, crowd, and colour-sized ids."""
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 13)), int(rng.integers(1, 13))
    true_ids = np.zeros((height, width), dtype=np.uint32)
    for segment in rng.choice(2**24 - 1, int(rng.integers(1, 6)), replace=False) + 1:
        top, left = rng.integers(0, height), rng.integers(0, width)
        true_ids[top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)] = segment
    pred_ids = np.roll(true_ids, int(rng.integers(0, 2)), axis=1)
    noise = rng.random((height, width)) < rng.choice([0.0, 0.2, 0.4])
    pred_ids[noise] = rng.integers(0, 3, noise.sum())
    true_segments = {
        int(i): (int(rng.choice(sorted(CATEGORIES))), bool(rng.random() < 0.3)) for i in np.unique(true_ids) if i
    }
    pred_segments = {
        int(i): true_segments[int(i)][0]
        if int(i) in true_segments and rng.random() < 0.8
        else int(rng.choice(sorted(CATEGORIES)))
        for i in np.unique(pred_ids)
        if i
    }
    return pred_ids, pred_segments, true_ids, true_segments


def test_hand_computed():
    # given a person found with IoU 3/4, a car missed, a false car, and the sky found whole
    true_ids = [[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]
    pred_ids = [[7, 7, 7, 0], [8, 0, 0, 0], [9, 9, 9, 9]]
    quality = PanopticQuality(CATEGORIES, THINGS)
    # when
    quality.update(
        np.array(pred_ids),
        {7: PERSON, 8: CAR, 9: SKY},
        np.array(true_ids),
        {1: (PERSON, False), 2: (CAR, False), 3: (SKY, False)},
    )
    # then the car has tp 0, fp 1, fn 1: all three of its qualities are 0
    assert quality.compute() == pytest.approx(
        {
            "pq": (0.75 + 0 + 1) / 3,
            "sq": (0.75 + 0 + 1) / 3,
            "rq": (1 + 0 + 1) / 3,
            **{"pq_things": 0.75 / 2, "sq_things": 0.75 / 2, "rq_things": 1 / 2},
            **{"pq_stuff": 1.0, "sq_stuff": 1.0, "rq_stuff": 1.0},
            "n": 3,
        }
    )


def test_pq_is_sq_times_rq_of_a_category():
    # given one person found with IoU 2/3, and one missed
    quality = PanopticQuality(CATEGORIES, THINGS)
    quality.update(
        np.array([[5, 5, 0, 0]]), {5: PERSON}, np.array([[1, 1, 1, 2]]), {1: (PERSON, False), 2: (PERSON, False)}
    )
    assert quality.tallies[PERSON].quality() == pytest.approx((2 / 3 / 1.5, 2 / 3, 1 / 1.5))
    got = quality.compute()
    assert (got["n"], got["pq"]) == (1, pytest.approx(got["sq"] * got["rq"]))
    assert math.isnan(got["pq_stuff"])
    assert all(math.isnan(value) for value in quality.tallies[CAR].quality())


def test_iou_of_exactly_one_half_does_not_match():
    assert tally_of([[5, 0]], {5: CAR}, [[1, 1]], {1: (CAR, False)}) == {CAR: (0, 0, 1, 1)}


def test_wrong_category_does_not_match():
    assert tally_of([[5, 5]], {5: CAR}, [[1, 1]], {1: (PERSON, False)}) == {PERSON: (0, 0, 0, 1), CAR: (0, 0, 1, 0)}


def test_void_is_taken_out_of_the_union():
    # given a prediction of 5 pixels, 3 of them void and 2 right
    assert tally_of([[5] * 5], {5: CAR}, [[0, 0, 0, 1, 1]], {1: (CAR, False)}) == {CAR: (1.0, 1, 0, 0)}


def test_unpredicted_pixels_stay_in_the_union():
    assert tally_of([[5, 5, 0]], {5: CAR}, [[1, 1, 1]], {1: (CAR, False)}) == {CAR: (2 / 3, 1, 0, 0)}


@pytest.mark.parametrize(("void_pixels", "false_positives"), [(1, 1), (2, 1), (3, 0)])
def test_prediction_mostly_in_void_is_excused(void_pixels, false_positives):
    # given 4 predicted pixels, the rest of them on another category
    true_ids = [[0] * void_pixels + [1] * (4 - void_pixels)]
    got = tally_of([[5] * 4], {5: CAR}, true_ids, {1: (PERSON, False)})
    assert got.get(CAR, (0, 0, 0, 0))[2] == false_positives


def test_crowd_is_no_false_negative_and_no_match():
    assert tally_of([[0, 0]], {}, [[1, 1]], {1: (PERSON, True)}) == {}
    assert tally_of([[5, 5]], {5: PERSON}, [[1, 1]], {1: (PERSON, True)}) == {}


def test_crowd_of_another_category_excuses_nothing():
    assert tally_of([[5, 5]], {5: CAR}, [[1, 1]], {1: (PERSON, True)}) == {CAR: (0, 0, 1, 0)}


def test_void_and_all_crowds_of_the_category_add_up():
    # given 5 predicted pixels: 1 void, 1 in each of two crowds, 2 in a car
    true_ids = [[0, 1, 2, 3, 3]]
    got = tally_of([[5] * 5], {5: PERSON}, true_ids, {1: (PERSON, True), 2: (PERSON, True), 3: (CAR, False)})
    assert got == {CAR: (0, 0, 0, 1)}


def test_true_segment_without_pixels_is_a_false_negative():
    assert tally_of([[0]], {}, [[0]], {1: (CAR, False), 2: (CAR, True)}) == {CAR: (0, 0, 0, 1)}


@pytest.mark.usefixtures("shape_hook_off")
def test_crowd_flag_may_be_the_integer_of_coco():
    assert tally_of([[5, 5]], {5: CAR}, [[1, 1]], {1: (CAR, 0)}) == {CAR: (1.0, 1, 0, 0)}


@pytest.mark.parametrize("seed", range(60))
def test_equals_slow_oracle(seed):
    image = random_image(seed)
    got, want = tally_of(*image), slow_tally(*image)
    assert got.keys() == want.keys()
    for category, counts in want.items():
        assert got[category] == pytest.approx(counts)


def test_oracle_sees_every_kind_of_outcome():
    # given the images of the test above, then matches, misses and false alarms all occur often
    totals = sum(np.array(list(slow_tally(*random_image(seed)).values())).reshape(-1, 4).sum(0) for seed in range(60))
    assert (totals[1:] > 10).all()


def test_accumulates_over_images():
    quality = PanopticQuality(CATEGORIES, THINGS)
    totals = {category: np.zeros(4) for category in CATEGORIES}
    for seed in range(10):
        quality.update(*random_image(seed))
        for category, counts in slow_tally(*random_image(seed)).items():
            totals[category] += counts
    pq = {c: iou / (tp + fp / 2 + fn / 2) for c, (iou, tp, fp, fn) in totals.items() if tp + fp + fn}
    got = quality.compute()
    assert got["pq"] == pytest.approx(np.mean(list(pq.values())))
    assert got["pq_things"] == pytest.approx(np.mean([pq[c] for c in pq if c in THINGS]))
    assert got["pq_stuff"] == pytest.approx(pq[SKY])


def test_equals_torchmetrics_without_crowd_and_with_full_predictions():
    """They differ elsewhere: torchmetrics knows no crowd, and takes unpredicted pixels out of the union too."""
    detection = pytest.importorskip("torchmetrics.detection")
    torch = pytest.importorskip("torch")
    reference = detection.PanopticQuality(things=THINGS, stuffs={SKY}, allow_unknown_preds_category=True)
    quality = PanopticQuality(CATEGORIES, THINGS)
    rng = np.random.default_rng(0)
    # segment id -> category; one segment of stuff, as torchmetrics merges those
    category_of = np.array([0, PERSON, PERSON, CAR, SKY])
    for _ in range(20):
        true_ids = np.repeat(np.repeat(rng.integers(0, 5, (4, 4)), 3, axis=0), 3, axis=1)
        noisy = np.where(rng.random(true_ids.shape) < 0.3, rng.integers(1, 5, true_ids.shape), true_ids)
        pred_ids = np.maximum(noisy, 1)
        quality.update(
            pred_ids,
            {int(i): int(category_of[i]) for i in np.unique(pred_ids)},
            true_ids,
            {int(i): (int(category_of[i]), False) for i in np.unique(true_ids) if i},
        )
        as_torch = [
            torch.from_numpy(np.stack([np.where(ids == 0, 9, category_of[ids]), ids], axis=-1))[None]
            for ids in (pred_ids, true_ids)
        ]
        as_torch[1][as_torch[1][..., 0] == 9] = torch.tensor(reference.void_color)
        reference.update(*as_torch)
    assert 0.1 < quality.compute()["pq"] < 0.9
    assert quality.compute()["pq"] == pytest.approx(float(reference.compute()))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (([[1, 0]], {1: CAR}, [[0]], {}), r"pred_ids: expected shape \(h=1, w=1\), got \(1, 2\)"),
        (([[0]], {}, [0], {}), r"true_ids: expected shape \(h, w\), got \(1,\)"),
        (([[0.0]], {}, [[0]], {}), "pred_ids: expected an integer array, got dtype float64"),
        (([[-1]], {-1: CAR}, [[0]], {}), "pred_ids: expected values of at least 0, got -1"),
        (([[4]], {}, [[0]], {}), r"pred_ids: expected ids among pred_segments or 0, got \[4\]"),
        (([[0]], {}, [[4]], {}), r"true_ids: expected ids among true_segments or 0, got \[4\]"),
        (([[0]], {4: CAR}, [[0]], {}), r"pred_segments: expected segments that have pixels in pred_ids, got \[4\]"),
        (([[0]], {0: CAR}, [[0]], {}), r"pred_segments: expected ids of at least 1 \(0 is void\), got 0"),
        (([[4]], {4: 9}, [[0]], {}), r"pred_segments: expected categories among \[1, 2, 3\], got \[9\]"),
        (([[0]], {}, [[4]], {4: (9, True)}), r"true_segments: expected categories among \[1, 2, 3\], got \[9\]"),
    ],
)
@pytest.mark.usefixtures("shape_hook_off")
def test_errors_say_what_came(image, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        tally_of(*image)


def test_categories_are_checked():
    with pytest.raises(InputError, match="^categories: expected at least one, got none$"):
        PanopticQuality(set(), set())
    with pytest.raises(InputError, match=r"^things: expected ids among the categories, got \[9\]$"):
        PanopticQuality({1}, {9})


def test_nothing_counted_is_an_error():
    quality = PanopticQuality(CATEGORIES, THINGS)
    quality.update(np.zeros((2, 2), int), {}, np.zeros((2, 2), int), {})
    quality.update(np.zeros((0, 2), int), {}, np.zeros((0, 2), int), {})
    with pytest.raises(InputError, match="^update: expected at least one counted segment before compute, got none$"):
        quality.compute()
