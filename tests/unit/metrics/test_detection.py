"""Matching of an annotator's regions, and its quality."""

import math

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.metrics.detection import NO_LABEL, Annotations, AnnotatorQuality, match_annotations

CAT, DOG = 0, 1


def annotations(boxes, labels, scores=None, masks=None):
    return Annotations(
        boxes_xyxy_px=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        scores=None if scores is None else np.array(scores, dtype=np.float64),
        masks=masks,
    )


def pairs_of(matches):
    return list(zip(matches.pred_index.tolist(), matches.true_index.tolist(), strict=True))


def slow_iou(a, b):
    """IoU of boxes on whole pixels, by painting them."""
    canvas = np.zeros((2, 40, 40), dtype=bool)
    for layer, (x1, y1, x2, y2) in zip(canvas, (a, b), strict=True):
        layer[int(y1) : int(y2), int(x1) : int(x2)] = True
    union = (canvas[0] | canvas[1]).sum()
    return (canvas[0] & canvas[1]).sum() / union if union else 0.0


def slow_pairs(pred, true, threshold):
    free, pairs = list(range(len(true.labels))), []
    scores = [0.0] * len(pred.labels) if pred.scores is None else pred.scores.tolist()
    for row in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        best, best_key = None, None
        for column in free:
            iou = slow_iou(pred.boxes_xyxy_px[row], true.boxes_xyxy_px[column])
            key = (iou, pred.labels[row] == true.labels[column])
            if iou > threshold and (best is None or key > best_key):
                best, best_key = column, key
        if best is not None:
            free.remove(best)
            pairs.append((row, best))
    return pairs


def random_annotations(rng, count, labels, scored):
    low = rng.integers(0, 4, (count, 2)) * 4
    boxes = np.concatenate([low, low + rng.integers(0, 4, (count, 2)) * 4], axis=1).astype(float)
    return Annotations(
        boxes_xyxy_px=boxes,
        labels=rng.integers(*labels, count),
        scores=rng.integers(0, 3, count) / 3 if scored else None,
    )


def paint(boxes, size=20):
    masks = np.zeros((len(boxes), size, size), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    return masks


def test_quality_by_hand():
    # given four predictions: a cat found, a dog found but called cat, one found without a label, a false alarm
    pred = annotations(
        [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 60, 70, 70]], [CAT, CAT, NO_LABEL, DOG], [0.9] * 4
    )
    # and four true regions, the last of which nothing finds
    true = annotations([[0, 0, 10, 8], [20, 0, 30, 10], [40, 0, 50, 10], [0, 80, 9, 90]], [CAT, DOG, DOG, CAT])
    quality = AnnotatorQuality()
    # when
    matches = quality.update(pred, true)
    # then
    assert pairs_of(matches) == [(0, 0), (1, 1), (2, 2)]
    np.testing.assert_allclose(matches.box_iou, [0.8, 1, 1])
    got = quality.compute()
    assert math.isnan(got.pop("mask_iou"))
    assert got == pytest.approx({"precision": 1 / 3, "recall": 1 / 4, "box_recall": 3 / 4, "label_precision": 1 / 2})


def test_better_score_takes_the_box_first():
    # given two predictions of one box, the worse placed one surer
    pred = annotations([[0, 0, 10, 10], [0, 0, 10, 8]], [CAT, CAT], [0.2, 0.7])
    assert pairs_of(match_annotations(pred, annotations([[0, 0, 10, 10]], [CAT]))) == [(1, 0)]


def test_prediction_falls_back_on_the_next_free_box():
    pred = annotations([[0, 0, 10, 10], [0, 0, 10, 10]], [CAT, CAT])
    true = annotations([[0, 0, 10, 9], [0, 0, 10, 10]], [CAT, CAT])
    assert pairs_of(match_annotations(pred, true)) == [(0, 1), (1, 0)]


def test_iou_of_exactly_the_threshold_does_not_match():
    assert pairs_of(match_annotations(annotations([[0, 0, 10, 10]], [CAT]), annotations([[0, 0, 10, 5]], [CAT]))) == []


def test_equal_boxes_go_to_their_own_label():
    pred = annotations([[0, 0, 9, 9], [0, 0, 9, 9]], [DOG, CAT])
    true = annotations([[0, 0, 9, 9], [0, 0, 9, 9]], [CAT, DOG])
    assert pairs_of(match_annotations(pred, true)) == [(0, 1), (1, 0)]


def test_boxes_without_area_match_nothing():
    point = annotations([[3, 3, 3, 3]], [CAT])
    assert pairs_of(match_annotations(point, point)) == []


def test_mask_iou_is_of_matched_pairs_only():
    # given a matched pair whose masks share 1 of 2 halves, and an unmatched prediction with a mask
    pred_masks, true_masks = paint([[0, 0, 10, 5], [15, 15, 20, 20]]), paint([[0, 0, 10, 10]])
    pred = annotations([[0, 0, 10, 10], [15, 15, 20, 20]], [CAT, CAT], masks=pred_masks)
    true = annotations([[0, 0, 10, 10]], [CAT], masks=true_masks)
    quality = AnnotatorQuality()
    matches = quality.update(pred, true)
    assert matches.mask_iou.tolist() == [0.5]
    # and an image without masks, which does not count
    quality.update(annotations([[0, 0, 9, 9]], [CAT]), annotations([[0, 0, 9, 9]], [CAT]))
    assert quality.compute()["mask_iou"] == 0.5


def test_empty_masks_have_iou_zero():
    both = annotations([[0, 0, 9, 9]], [CAT], masks=np.zeros((1, 4, 4), dtype=bool))
    assert match_annotations(both, both).mask_iou.tolist() == [0.0]


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_pairs_equal_slow_oracle(seed, threshold):
    rng = np.random.default_rng(seed)
    pred = random_annotations(rng, int(rng.integers(0, 9)), (-1, 3), scored=seed % 3 > 0)
    true = random_annotations(rng, int(rng.integers(0, 9)), (0, 3), scored=False)
    matches = match_annotations(pred, true, threshold)
    assert pairs_of(matches) == slow_pairs(pred, true, threshold)
    want = [slow_iou(pred.boxes_xyxy_px[p], true.boxes_xyxy_px[t]) for p, t in pairs_of(matches)]
    np.testing.assert_allclose(matches.box_iou, want)


def test_quality_over_images_equals_slow_oracle():
    rng, quality = np.random.default_rng(0), AnnotatorQuality()
    matched, right, matched_labelled, labelled, true_count = 0, 0, 0, 0, 0
    for _ in range(30):
        pred = random_annotations(rng, int(rng.integers(0, 9)), (-1, 3), scored=True)
        true = random_annotations(rng, int(rng.integers(0, 9)), (0, 3), scored=False)
        quality.update(pred, true)
        labelled += sum(label >= 0 for label in pred.labels)
        true_count += len(true.labels)
        for p, t in slow_pairs(pred, true, 0.5):
            matched += 1
            right += pred.labels[p] == true.labels[t]
            matched_labelled += pred.labels[p] >= 0
    got = quality.compute()
    assert got["precision"] == pytest.approx(right / labelled)
    assert got["recall"] == pytest.approx(right / true_count)
    assert got["box_recall"] == pytest.approx(matched / true_count)
    assert got["label_precision"] == pytest.approx(right / matched_labelled)


def test_ious_equal_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    low = rng.random((30, 2)) * 10
    boxes = np.concatenate([low, low + 5 + rng.random((30, 2)) * 5], axis=1)
    masks = rng.random((30, 12, 12)) < 0.5
    pred = annotations(boxes[:15], [CAT] * 15, masks=masks[:15])
    true = annotations(boxes[15:], [CAT] * 15, masks=masks[15:])
    matches = match_annotations(pred, true, 0.2)
    assert len(matches.box_iou) > 5
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    crowd = [0] * 15
    want = coco.iou(sides[:15], sides[15:], crowd)[matches.pred_index, matches.true_index]
    np.testing.assert_allclose(matches.box_iou, want)
    runs = coco.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    want = coco.iou(runs[:15], runs[15:], crowd)[matches.pred_index, matches.true_index]
    np.testing.assert_allclose(matches.mask_iou, want)


def test_no_predictions_and_no_truth():
    nothing, one = annotations([], []), annotations([[0, 0, 9, 9]], [CAT])
    missed = AnnotatorQuality()
    missed.update(nothing, one)
    assert (missed.compute()["recall"], missed.compute()["box_recall"]) == (0.0, 0.0)
    assert math.isnan(missed.compute()["precision"])
    invented = AnnotatorQuality()
    invented.update(one, nothing)
    assert invented.compute()["precision"] == 0.0
    assert math.isnan(invented.compute()["recall"])
    empty = AnnotatorQuality()
    empty.update(nothing, nothing)
    with pytest.raises(InputError, match="^update: expected at least one labelled prediction or true region before "):
        empty.compute()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"boxes_xyxy_px": np.zeros((2, 5))}, r"boxes_xyxy_px: expected shape \(n, xyxy=4\), got \(2, 5\)"),
        ({"boxes_xyxy_px": np.zeros((2, 4), int)}, "boxes_xyxy_px: expected a floating point array, got dtype int64"),
        ({"boxes_xyxy_px": np.full((2, 4), np.inf)}, "boxes_xyxy_px: expected finite numbers, got 8 infinite of 8"),
        (
            {"boxes_xyxy_px": np.array([[0.0, 0, 1, 1], [5, 0, 4, 1]])},
            r"boxes_xyxy_px: expected x1 <= x2 and y1 <= y2, got \[5.0, 0.0, 4.0, 1.0\]",
        ),
        ({"labels": np.zeros(3, int)}, r"labels: expected shape \(n=2\), got \(3,\)"),
        ({"labels": np.array([-2, 0])}, "labels: expected values of at least -1, got -2"),
        ({"scores": np.zeros((2, 1))}, r"scores: expected shape \(n=2\), got \(2, 1\)"),
        ({"scores": np.array([0, np.nan])}, "scores: expected no NaN, got 1 of 2"),
        ({"masks": np.zeros((1, 3, 3), bool)}, r"masks: expected shape \(n=2, h, w\), got \(1, 3, 3\)"),
        ({"masks": np.zeros((2, 3, 3), int)}, "masks: expected a boolean array, got dtype int64"),
    ],
)
@pytest.mark.usefixtures("shape_hook_off")
def test_errors_say_what_came(changed, message):
    fields = {"boxes_xyxy_px": np.zeros((2, 4)), "labels": np.zeros(2, int)} | changed
    with pytest.raises(InputError, match=f"^{message}$"):
        Annotations(**fields)


def test_errors_of_matching():
    one = annotations([[0, 0, 9, 9]], [CAT], masks=np.zeros((1, 4, 4), dtype=bool))
    with pytest.raises(InputError, match="^true.labels: expected values of at least 0, got -1$"):
        match_annotations(one, annotations([[0, 0, 9, 9]], [NO_LABEL]))
    with pytest.raises(InputError, match=r"^iou_threshold: expected a number in \[0, 1\), got 50.0$"):
        match_annotations(one, one, 50.0)
    other = annotations([[0, 0, 9, 9]], [CAT], masks=np.zeros((1, 4, 5), dtype=bool))
    with pytest.raises(InputError, match=r"^pred.masks: expected shape \(n, h=4, w=5\), got \(1, 4, 4\)$"):
        match_annotations(one, other)
