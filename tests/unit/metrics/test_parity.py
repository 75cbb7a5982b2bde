"""The metrics against reference implementations, or their published algorithms, on random and adversarial inputs."""

import numpy as np
import pytest
import torch

from umgclip.geometry import boxes
from umgclip.metrics.classification import mean_per_class_accuracy, top_k_accuracy
from umgclip.metrics.panoptic import PanopticQuality
from umgclip.metrics.retrieval import recall_at_k
from umgclip.metrics.segmentation import SemanticAccumulator

THINGS, STUFF = (1, 2, 3), (7, 8)


@pytest.mark.parametrize("classes", [5, 30])
def test_top_k_equals_open_clip(classes):
    # the steps of open_clip's and CLIP_benchmark's `accuracy`, which itself does not run on numpy 2.4
    rng = np.random.default_rng(classes)
    scores, target = rng.standard_normal((120, classes)), rng.integers(0, classes, 120)
    best = torch.from_numpy(scores).topk(5, dim=1, largest=True, sorted=True).indices
    hits = best == torch.from_numpy(target)[:, None]
    got = top_k_accuracy(scores, target)
    assert [got["top1"], got["top5"]] == pytest.approx([float(hits[:, :k].any(1).double().mean()) for k in (1, 5)])


def test_mean_per_class_equals_balanced_accuracy():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    scores, target = rng.standard_normal((60, 9)), rng.choice([0, 0, 0, 1, 4, 8], 60)
    # CLIP_benchmark's mean_per_class_recall, over the classes present
    want = sklearn.recall_score(target, scores.argmax(1), labels=np.unique(target), average="macro")
    assert mean_per_class_accuracy(scores, target) == pytest.approx(want)


def test_recall_equals_open_clip_with_one_caption_an_image():
    open_clip = pytest.importorskip("open_clip_train.train")
    features = [torch.nn.functional.normalize(torch.randn(40, 6), dim=1) for _ in range(2)]
    want = open_clip.get_clip_metrics(*features, logit_scale=torch.tensor(100.0))
    got = recall_at_k((features[0] @ features[1].T).numpy(), np.arange(40))
    for k in (1, 5, 10):
        assert got[f"i2t_r{k}"] == pytest.approx(want[f"image_to_text_R@{k}"])
        assert got[f"t2i_r{k}"] == pytest.approx(want[f"text_to_image_R@{k}"])


def any_right_among_the_best(scores, right, k):
    """CLIP_benchmark: recall among the k best above 0, averaged over queries."""
    best = torch.topk(scores, min(k, scores.shape[1]), dim=1).indices
    return float(torch.gather(right, 1, best).any(1).float().mean())


@pytest.mark.parametrize("seed", range(6))
def test_recall_equals_clip_benchmark_with_many_captions(seed):
    # given one to seven captions an image, and cosines of either sign
    rng = np.random.default_rng(seed)
    image_of_text = rng.permutation(np.repeat(np.arange(23), rng.integers(1, 8, 23)))
    similarity = rng.standard_normal((23, len(image_of_text))) - 1.0
    right = torch.from_numpy(np.arange(23)[:, None] == image_of_text)
    got = recall_at_k(similarity, image_of_text)
    for k in (1, 5, 10):
        assert got[f"i2t_r{k}"] == pytest.approx(any_right_among_the_best(torch.from_numpy(similarity), right, k))
        assert got[f"t2i_r{k}"] == pytest.approx(any_right_among_the_best(torch.from_numpy(similarity).T, right.T, k))


def panopticapi(images):
    """PQ, SQ, RQ of all, things and stuff by panopticapi's published algorithm: dictionaries of pairs of ids."""
    tally = {category: [0.0, 0, 0, 0] for category in (*THINGS, *STUFF)}
    for pred_ids, pred, true_ids, true in images:
        pairs = {}
        for true_id, pred_id in zip(true_ids.ravel().tolist(), pred_ids.ravel().tolist(), strict=True):
            pairs[true_id, pred_id] = pairs.get((true_id, pred_id), 0) + 1
        pred_area = {i: int((pred_ids == i).sum()) for i in pred}
        true_area = {i: int((true_ids == i).sum()) for i in true}
        found, hit = set(), set()
        for (true_id, pred_id), shared in pairs.items():
            if true_id not in true or pred_id not in pred or true[true_id][1] or true[true_id][0] != pred[pred_id]:
                continue
            iou = shared / (pred_area[pred_id] + true_area[true_id] - shared - pairs.get((0, pred_id), 0))
            if iou > 0.5:
                tally[pred[pred_id]][0] += iou
                tally[pred[pred_id]][1] += 1
                found.add(true_id)
                hit.add(pred_id)
        crowd_of = {category: i for i, (category, is_crowd) in true.items() if is_crowd}
        for true_id, (category, is_crowd) in true.items():
            tally[category][3] += not is_crowd and true_id not in found
        for pred_id, category in pred.items():
            excused = pairs.get((0, pred_id), 0) + pairs.get((crowd_of.get(category), pred_id), 0)
            tally[category][2] += pred_id not in hit and not excused / pred_area[pred_id] > 0.5
    return {name: averaged([tally[c] for c in group]) for name, group in GROUPS.items()}


GROUPS = {"": (*THINGS, *STUFF), "_things": THINGS, "_stuff": STUFF}


def averaged(tallies):
    counted = [t for t in tallies if any(t[1:])]
    rows = [
        (i / (tp + fp / 2 + fn / 2), i / tp if tp else 0.0, tp / (tp + fp / 2 + fn / 2)) for i, tp, fp, fn in counted
    ]
    return tuple(np.mean(rows, axis=0)) if rows else (np.nan,) * 3


def blocks(rng, categories, crowd_share):
    """A map of rectangles over void, at most one crowd of a category, as COCO has it."""
    ids = np.zeros((14, 17), dtype=np.int64)
    for segment in range(1, rng.integers(2, 9)):
        top, left = rng.integers(0, 12), rng.integers(0, 15)
        ids[top : top + rng.integers(2, 12), left : left + rng.integers(2, 12)] = segment
    segments, crowds = {}, set()
    for segment in np.unique(ids[ids > 0]).tolist():
        category = int(rng.choice(categories))
        is_crowd = rng.random() < crowd_share and category not in crowds
        if is_crowd:
            crowds.add(category)
        segments[segment] = (category, bool(is_crowd))
    return ids, segments


def random_pair(rng):
    """Truth, and a prediction that is the truth moved, relabelled, merged or something else altogether."""
    true_ids, true = blocks(rng, (*THINGS, *STUFF), 0.3)
    if rng.random() < 0.3:
        pred_ids, other = blocks(rng, (*THINGS, *STUFF), 0.0)
        return pred_ids, {i: category for i, (category, _) in other.items()}, true_ids, true
    pred_ids = np.roll(true_ids, int(rng.integers(0, 3)), axis=int(rng.integers(0, 2)))
    pred_ids[rng.random(pred_ids.shape) < 0.1] = 0
    pred_ids[rng.random(pred_ids.shape) < 0.1] = 90
    pred = {}
    for segment in np.unique(pred_ids[pred_ids > 0]).tolist():
        known = segment in true and rng.random() < 0.8
        pred[segment] = true[segment][0] if known else int(rng.choice((*THINGS, *STUFF)))
    return pred_ids, pred, true_ids, true


EVERYWHERE, NOWHERE = np.full((4, 4), 5), np.zeros((4, 4), dtype=np.int64)
ADVERSARIAL = {
    "nothing predicted": (NOWHERE, {}, EVERYWHERE, {5: (1, False)}),
    "all of it void": (EVERYWHERE, {5: 1}, NOWHERE, {}),
    "all of it crowd": (EVERYWHERE, {5: 1}, EVERYWHERE, {5: (1, True)}),
    "crowd of another class": (EVERYWHERE, {5: 2}, EVERYWHERE, {5: (1, True)}),
    "one prediction over two": (
        EVERYWHERE,
        {5: 1},
        np.repeat([[1, 2]], 4, 0).repeat(2, 1),
        {1: (1, False), 2: (1, False)},
    ),
    "stuff and thing mixed up": (EVERYWHERE, {5: 7}, EVERYWHERE, {5: (1, False)}),
    "exactly half": (np.repeat([[5, 0]], 4, 0).repeat(2, 1), {5: 1}, EVERYWHERE, {5: (1, False)}),
}


def pq_of(images):
    quality = PanopticQuality((*THINGS, *STUFF), THINGS)
    for pred_ids, pred, true_ids, true in images:
        quality.update(pred_ids, pred, true_ids, true)
    return quality


@pytest.mark.parametrize("seed", range(12))
def test_panoptic_quality_equals_panopticapi(seed):
    rng = np.random.default_rng(seed)
    images = [random_pair(rng) for _ in range(12)]
    got, want = pq_of(images).compute(), panopticapi(images)
    assert (got["pq"], got["sq"], got["rq"]) == pytest.approx(want[""])
    assert got["pq_things"] == pytest.approx(want["_things"][0])
    assert got["pq_stuff"] == pytest.approx(want["_stuff"][0])


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_panoptic_quality_equals_panopticapi_at_the_edges(name):
    image = ADVERSARIAL[name]
    quality = pq_of([image])
    want = panopticapi([image])[""]
    if np.isnan(want[0]):
        assert not any(tally.count() for tally in quality.tallies.values())
    else:
        got = quality.compute()
        assert (got["pq"], got["sq"], got["rq"]) == pytest.approx(want)


@pytest.mark.parametrize("case", ["random", "one class", "predicted only", "mostly ignored"])
def test_mean_iou_equals_torchmetrics(case):
    classification = pytest.importorskip("torchmetrics.classification")
    rng = np.random.default_rng(0)
    high_true = {"one class": 1, "predicted only": 3}.get(case, 7)
    jaccard = classification.MulticlassJaccardIndex(7, ignore_index=-1)
    per_class = classification.MulticlassAccuracy(7, ignore_index=-1)
    accumulator = SemanticAccumulator(7)
    for _ in range(3):
        pred, target = rng.integers(0, 7, (11, 13)), rng.integers(0, high_true, (11, 13))
        target[rng.random(target.shape) < (0.99 if case == "mostly ignored" else 0.1)] = -1
        accumulator.update(pred, target)
        jaccard.update(torch.from_numpy(pred)[None], torch.from_numpy(target)[None])
        per_class.update(torch.from_numpy(pred)[None], torch.from_numpy(target)[None])
    got = accumulator.compute()
    assert got["miou"] == pytest.approx(float(jaccard.compute()))
    if high_true == 7 and case == "random":  # torchmetrics counts classes without a pixel where they are predicted
        assert got["mean_class_accuracy"] == pytest.approx(float(per_class.compute()))


def test_box_statistics_equal_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    low = rng.random((40, 2)) * 20
    found = np.concatenate([low, low + rng.random((40, 2)) * 15], axis=1)
    found[:3, 2:] = found[:3, :2]  # without area
    true = np.concatenate([found[20:] + rng.random((20, 4)), [[0, 0, 50, 50], [60, 60, 70, 70]]])
    as_xywh = [np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1) for b in (found, true)]
    np.testing.assert_allclose(boxes.iou(found, true), coco.iou(*as_xywh, [0] * len(true)), atol=1e-12)
    np.testing.assert_allclose(boxes.area(found), as_xywh[0][:, 2] * as_xywh[0][:, 3])
