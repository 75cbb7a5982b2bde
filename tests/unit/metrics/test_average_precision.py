"""Average precision: equal to pycocotools on files, and to LVIS's rules written out one detection at a time."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from umgclip.errors import InputError
from umgclip.metrics.average_precision import AveragePrecision, Detections, TrueBoxes

CLASSES, IMAGES = 4, 14
THRESHOLDS, RECALLS = np.linspace(0.5, 0.95, 10), np.linspace(0, 1, 101)
AREAS = {"": (0, 1e10), "_small": (0, 32**2), "_medium": (32**2, 96**2), "_large": (96**2, 1e10)}


def drawn(seed, federated):
    """Images with true boxes of all sizes, and detections that are near some of them."""
    random = np.random.default_rng(seed)
    for _ in range(IMAGES):
        true = boxes(random, int(random.integers(0, 6)))
        labels = random.integers(0, CLASSES, len(true))
        crowd = (random.random(len(true)) < 0.15) & (not federated)
        area = (true[:, 2:] - true[:, :2]).prod(1) * random.uniform(0.5, 1, len(true))
        absent = frozenset(map(int, np.flatnonzero(random.random(CLASSES) < 0.4))) - set(labels.tolist())
        open_ = frozenset(map(int, set(labels.tolist()) if random.random() < 0.5 else ()))
        truth = TrueBoxes(true, labels, area, crowd, absent if federated else None, open_ if federated else frozenset())
        near = true[random.integers(0, len(true), 6)] + random.normal(0, 4, (6, 4)) if len(true) else true
        far = boxes(random, 4)
        found = np.concatenate([near, far])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        guessed = np.concatenate([random.integers(0, CLASSES, len(near)), random.integers(0, CLASSES, len(far))])
        # scores with ties
        yield truth, Detections(found, guessed, random.integers(0, 12, len(found)) / 12)


def boxes(random, count):
    corner = random.uniform(0, 200, (count, 2))
    return np.concatenate([corner, corner + random.uniform(5, 160, (count, 2))], axis=1)


def measured(samples, most, groups=None):
    precision = AveragePrecision(most)
    for true, found in samples:
        precision.add(true, found)
    return precision.compute(groups)


def by_pycocotools(samples, most):
    """COCO's evaluation of two files."""
    annotations, results = [], []
    for image, (true, found) in enumerate(samples):
        for row, box in enumerate(true.boxes_xyxy_px):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": int(true.labels[row]),
                 "bbox": [*box[:2], *(box[2:] - box[:2])], "area": true.areas_px[row],
                 "iscrowd": int(true.is_crowd[row])}
            )  # fmt: skip
        best = np.argsort(-found.scores, kind="stable")[:most]
        results += [
            {"image_id": image, "category_id": int(found.labels[row]), "score": found.scores[row],
             "bbox": [*found.boxes_xyxy_px[row][:2], *(found.boxes_xyxy_px[row][2:] - found.boxes_xyxy_px[row][:2])]}
            for row in best
        ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number} for number in range(len(samples))],
            "annotations": annotations, "categories": [{"id": number} for number in range(CLASSES)], "info": {},
        }  # fmt: skip
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, 10, most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., -1]
    recall = evaluation.eval["recall"][..., -1]
    wanted = {f"ap{name}": precision[:, :, :, number] for number, name in enumerate(AREAS)}
    wanted |= {"ap50": precision[0, :, :, 0], "ap75": precision[5, :, :, 0], "ar": recall[:, :, 0]}
    return {name: values[values > -1].mean() for name, values in wanted.items() if (values > -1).any()}


@pytest.mark.parametrize(("seed", "most"), [(0, 100), (1, 100), (2, 5)])
def test_it_is_what_pycocotools_gives_for_files(seed, most):
    samples = list(drawn(seed, federated=False))
    assert measured(samples, most) == pytest.approx(by_pycocotools(samples, most), abs=1e-9)


def iou(one, other):
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - width * height
    return width * height / union


def federated_by_hand(samples, label, threshold, area, most):
    """One class at one IoU by LVIS's rules; None if it has no true box of the size."""
    ranked, positives = [], 0
    for image, (true, found) in enumerate(samples):
        low, high = area
        rows = [row for row in range(len(true.labels)) if true.labels[row] == label]
        counts = {row: low <= true.areas_px[row] <= high for row in rows}
        positives += sum(counts.values())
        best = sorted(range(len(found.scores)), key=lambda row: -found.scores[row])[:most]
        free = set(rows)
        for row in best:
            if found.labels[row] != label or not (rows or label in true.absent):
                continue  # nobody looked for the class in this image
            box = found.boxes_xyxy_px[row]
            near = [r for r in rows if r in free and iou(box, true.boxes_xyxy_px[r]) >= threshold]
            near.sort(key=lambda r: (counts[r], iou(box, true.boxes_xyxy_px[r])), reverse=True)
            if near:
                free.discard(near[0])
                verdict = "hit" if counts[near[0]] else "ignored"
            else:
                size = (box[2] - box[0]) * (box[3] - box[1])
                verdict = "ignored" if label in true.not_exhaustive or not low <= size <= high else "miss"
            ranked.append((-found.scores[row], image, len(ranked), verdict))
    if not positives:
        return None
    hits = misses = 0
    curve = []
    for *_, verdict in sorted(ranked):
        hits, misses = hits + (verdict == "hit"), misses + (verdict == "miss")
        curve.append((hits / positives, hits / max(1, hits + misses)))
    return np.mean([max([p for r, p in curve if r >= recall], default=0.0) for recall in RECALLS])


@pytest.mark.parametrize("seed", range(3))
def test_federated_images_follow_the_rules_of_lvis(seed):
    samples = list(drawn(seed, federated=True))
    most = 7
    got = measured(samples, most, {"rare": [0], "frequent": [1, 2, 3], "none": []})
    for name, area in AREAS.items():
        each = {
            label: [federated_by_hand(samples, label, threshold, area, most) for threshold in THRESHOLDS]
            for label in range(CLASSES)
        }
        means = {label: np.mean(values) for label, values in each.items() if values[0] is not None}
        assert got[f"ap{name}"] == pytest.approx(np.mean(list(means.values())), abs=1e-9), name
        if not name:
            assert got["ap_rare"] == pytest.approx(means[0], abs=1e-9)
            assert got["ap_frequent"] == pytest.approx(np.mean([means[label] for label in (1, 2, 3)]), abs=1e-9)
    assert "ap_none" not in got


def test_the_two_rules_differ_where_they_should():
    box, other = np.array([[0.0, 0, 40, 40]]), np.array([[100.0, 100, 140, 140]])
    here, nothing = np.array([0]), np.zeros(0, np.int64)
    none = np.zeros((0, 4))

    def truth(absent, not_exhaustive=frozenset()):
        return [
            TrueBoxes(box, here, np.array([1600.0]), np.array([False]), absent, not_exhaustive),
            TrueBoxes(none, nothing, np.zeros(0), np.zeros(0, bool), absent),
        ]

    def ap(true, found):
        return measured(list(zip(true, found, strict=True)), 300)["ap"]

    wrong_first = Detections(np.concatenate([other, box]), np.array([0, 0]), np.array([0.9, 0.5]))
    elsewhere = Detections(other, here, np.array([0.95]))
    empty = Detections(none, nothing, np.zeros(0))
    assert ap(truth(None), [wrong_first, empty]) == pytest.approx(0.5)
    assert ap(truth(frozenset(), frozenset({0})), [wrong_first, empty]) == pytest.approx(1.0)  # not every one has a box
    right = Detections(box, here, np.array([0.5]))
    assert ap(truth(None), [right, elsewhere]) == pytest.approx(0.5)
    assert ap(truth(frozenset()), [right, elsewhere]) == pytest.approx(1.0)  # nobody looked for it in the second image
    assert ap(truth(frozenset({0})), [right, elsewhere]) == pytest.approx(0.5)  # it was verified to be absent


def test_without_true_boxes_there_is_nothing():
    precision = AveragePrecision(100)
    assert precision.compute() == {}
    precision.add(
        TrueBoxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool)),
        Detections(np.array([[0.0, 0, 5, 5]]), np.array([0]), np.array([0.5])),
    )
    assert precision.compute() == {}


def test_detections_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="labels"):
        Detections(np.zeros((1, 4)), np.array([-1]), np.array([0.5]))
    with pytest.raises(InputError, match="scores"):
        Detections(np.zeros((1, 4)), np.array([0]), np.array([np.nan]))
