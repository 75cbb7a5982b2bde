"""Given boxes that are named by a model, with towers that see colours, or nothing."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umgclip.errors import DataError
from umgclip.evaluate.benchmarks.annotator import read_proposals
from umgclip.evaluate.benchmarks.detection import DetectedByName
from umgclip.evaluate.examples import batched, open_benchmark, read_examples
from umgclip.evaluate.given_boxes import Boxes, GivenBoxes, read_boxes
from umgclip.params.evaluate import DetectionParams


@pytest.fixture
def scenes(toy):
    _, classes = open_benchmark(toy)
    return [example for example in read_examples(toy, classes) if not example.single]


@pytest.fixture
def measure(toy, scenes, read_with, kit):
    def run(tower, examples=None, given=None, proposals=True, **changes):
        params = kit.PARAMS.model_copy(update={"detection": DetectionParams(**changes)})
        reader = read_with(tower, params)
        benchmark = DetectedByName(reader, read_proposals(toy) if proposals else None, given)
        for batch in batched(iter(scenes if examples is None else examples), 5):
            benchmark.add(batch, reader.see(batch))
        return benchmark

    return run


def test_true_boxes_that_are_rightly_named_are_all_found(measure, kit):
    benchmark = measure(kit.ColourTower())
    found = dict(benchmark.results())
    assert {"ap", "ap50", "ap75", "ar", "ap_small", "ap_heldout", "ap_seen"} == set(found)
    assert found == pytest.approx(dict.fromkeys(found, 1.0))
    block = benchmark.protocol()
    assert (block["images"], block["true_boxes"], block["rules"]) == (27, 66, "COCO")
    assert block["boxes"] == {"from": "proposals", "count": 66}
    assert (block["score"], block["detections_per_image"]) == ("objectness^0.5 softmax^0.5", 100)


def test_a_model_that_sees_nothing_finds_little(measure, kit):
    # a box carries every class, so the right one is among its detections, but seldom the first
    found = dict(measure(kit.RandomTower()).results())
    assert 0.1 < found["ap"] < 0.5
    assert found["ar"] == pytest.approx(1.0)


def test_a_score_is_the_geometric_mean_of_objectness_and_probability(measure, scenes, kit):
    scene = scenes[0]
    [first, second] = [thing.box_xyxy for thing in scene.things]
    boxes = GivenBoxes({scene.key: Boxes(np.array([first, second]), np.array([0.81, 0.16]))}, 0)
    benchmark = measure(kit.ColourTower(), [scene], boxes, objectness=0.25)
    detections = benchmark._precision._detected[0]
    ranked = list(zip(detections.labels.tolist(), detections.scores.tolist(), strict=True))
    best = dict(reversed(ranked))  # of the two boxes the one of the class itself comes first
    wanted = {thing.label: objectness**0.25 for thing, objectness in zip(scene.things, (0.81, 0.16), strict=True)}
    for label, score in wanted.items():
        assert best[label] == pytest.approx(score, abs=1e-4)


def test_overlaps_of_a_class_are_suppressed_and_the_best_detections_count(measure, scenes, kit):
    scene = scenes[0]
    box = scene.things[0].box_xyxy
    twice = GivenBoxes({scene.key: Boxes(np.array([box, box]), np.array([0.9, 0.8]))}, 0)
    counts = {}
    for nms in (0.5, None):
        benchmark = measure(kit.ColourTower(), [scene], twice, nms_iou=nms)
        counts[nms] = len(benchmark._precision._detected[0].labels)
    assert counts == {0.5: len(kit.THINGS), None: 2 * len(kit.THINGS)}
    few = measure(kit.ColourTower(), [scene], twice, nms_iou=None, most=3)
    assert len(few._precision._detected[0].labels) == 3
    assert few.protocol()["detections_per_image"] == 3


def test_scenes_without_boxes_or_regions_are_left_out(measure, scenes, kit):
    unknown = [dataclasses.replace(scene, things=(), regions_known=False) for scene in scenes[:3]]
    assert measure(kit.ColourTower(), unknown).protocol()["images"] == 0
    assert dict(measure(kit.ColourTower(), unknown).results()) == {}
    empty = [dataclasses.replace(scene, things=()) for scene in scenes[:3]]  # nothing is there: all boxes are wrong
    assert dict(measure(kit.ColourTower(), empty).results()) == {}
    both = dict(measure(kit.ColourTower(), [*empty, *scenes[3:]]).results())
    assert both["ap"] < 1
    assert dict(measure(kit.ColourTower(), proposals=False).results()) == {}
    none = GivenBoxes({}, 3)
    assert dict(measure(kit.ColourTower(), given=none).results()) == {}


def test_verified_classes_bring_the_rules_of_lvis(measure, scenes, kit):
    federated = [
        dataclasses.replace(scene, negative_tags=(), not_exhaustive=(scene.things[0].label,)) for scene in scenes
    ]
    benchmark = measure(kit.RandomTower(), federated)
    block = benchmark.protocol()
    assert (block["rules"], block["detections_per_image"]) == ("LVIS, federated", 300)
    # wrong names of classes that nobody looked for cost nothing
    assert dict(benchmark.results())["ap"] > dict(measure(kit.RandomTower()).results())["ap"]


@pytest.fixture
def named(tmp_path):
    rows = {"key": ["aa", "bb", "cc"], "name": ["val2017/000000000139.jpg", "000000000285.jpg", "dog.png"]}
    pq.write_table(pa.table(rows), tmp_path / "images.parquet")
    return tmp_path


def write(folder, results):
    (folder / "boxes.json").write_text(json.dumps(results))
    return folder / "boxes.json"


def test_coco_results_are_read_by_number_or_stem(named):
    boxes = [
        {"image_id": 139, "bbox": [1, 2, 3, 4], "score": 0.5, "category_id": 7},
        {"image_id": "dog", "bbox": [0.5, 0, 3, 4], "score": 1},
        {"image_id": 139, "bbox": [5, 5, 1, 1], "score": 0.25},
        {"image_id": 1, "bbox": [5, 5, 1, 1], "score": 0.25},
    ]
    given = read_boxes(write(named, boxes), named)
    assert given.elsewhere == 1
    assert given.of_key["aa"].boxes_xyxy_px.tolist() == [[1, 2, 4, 6], [5, 5, 6, 6]]
    assert given.of_key["aa"].scores.tolist() == [0.5, 0.25]
    assert set(given.of_key) == {"aa", "cc"}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"bbox": [1, 2, 3, 4], "score": 0.5}, "element 0: expected an object with image_id, bbox and score"),
        ({"image_id": 139, "bbox": [1, 2, 3], "score": 0.5}, r"expected bbox \[x, y, width, height\] and a score"),
        ({"image_id": 139, "bbox": [1, 2, -3, 4], "score": 0.5}, "expected bbox"),
        ({"image_id": 139, "bbox": [1, 2, 3, 4], "score": 7.5}, "score: expected 0 to 1, .* got 7.5"),
        ({"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}, "got none of them and 1 of others"),
    ],
)
def test_results_that_make_no_sense_are_named(named, result, message):
    with pytest.raises(DataError, match=message):
        read_boxes(write(named, [result]), named)


def test_a_benchmark_without_names_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"images\.parquet: expected the names of imported images"):
        read_boxes(write(tmp_path, []), tmp_path)
