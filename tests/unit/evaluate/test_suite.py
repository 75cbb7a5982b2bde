"""Models of known skill through all six benchmarks."""

import dataclasses

import numpy as np
import pytest
import torch

from umgclip.evaluate.benchmarks import classification, region
from umgclip.evaluate.benchmarks.annotator import read_proposals
from umgclip.evaluate.benchmarks.tagging import Tagging
from umgclip.evaluate.examples import batched, open_benchmark, read_examples
from umgclip.evaluate.report.intervals import intervals
from umgclip.evaluate.suite import PROTOCOLS, Suite


@pytest.fixture
def evaluate(toy, read_with, kit):
    """Run a tower through the toy benchmark; the truth serves as the annotator's proposals."""

    def run(tower, params=kit.PARAMS):
        _, classes = open_benchmark(toy)
        suite = Suite("model", read_with(tower, params), {"proposals": read_proposals(toy)})
        for batch in batched(read_examples(toy, classes), params.batch):
            suite.add(batch)
        return suite

    return run


def flat(results):
    return {f"{name}.{metric}": value for name, metrics in results.items() for metric, value in metrics.items()}


def test_a_model_that_is_always_right_scores_one_everywhere(evaluate, kit):
    results = evaluate(kit.ColourTower()).results()
    assert set(results) == set(PROTOCOLS)
    found = flat(results)
    assert {"region.mask_top1_heldout", "region.crop_top1", "panoptic.pq_proposals", "semantic.miou"} <= set(found)
    assert found == pytest.approx(dict.fromkeys(found, 1.0))
    later = {"classification.mean_per_class", "tagging.f1", "region.mask_stuff_top1", "panoptic.pq_things_proposals"}
    assert later <= set(found)


def test_a_model_that_sees_nothing_is_near_chance(evaluate, kit):
    runs = [flat(evaluate(kit.RandomTower(seed)).results()) for seed in range(6)]
    mean = {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}
    assert mean["retrieval.i2t_r1"] == pytest.approx(1 / 27, abs=0.05)
    assert mean["retrieval.t2i_r10"] == pytest.approx(10 / 27, abs=0.12)
    for readout in ("box", "crop", "maskout"):
        assert mean[f"region.{readout}_top1"] == pytest.approx(1 / 6, abs=0.08)
    assert mean["semantic.pixel_accuracy"] == pytest.approx(1 / 8, abs=0.03)
    assert mean["classification.top1"] == pytest.approx(1 / 6, abs=0.17)


def test_of_as_many_classes_as_places_no_top_is_told(evaluate, kit, monkeypatch):
    suite = evaluate(kit.ColourTower())
    assert {"classification.top5", "region.box_top5"} <= set(flat(suite.results()))
    assert set(suite.classification.weighted()[1]) == {"top1", "top5", "mean_per_class"}
    for module in (classification, region):
        monkeypatch.setattr(module, "TOP", len(kit.THINGS))
    assert set(dict(suite.classification.results())) == {"top1", "mean_per_class"}
    assert set(suite.classification.weighted()[1]) == {"top1", "mean_per_class"}
    assert not any(name.endswith(("top5", "top6")) for name, _ in suite.region.results())


def test_batches_make_no_difference(evaluate, kit):
    small = kit.PARAMS.model_copy(update={"batch": 1})
    large = kit.PARAMS.model_copy(update={"batch": 64})
    one, other = (flat(evaluate(kit.ColourTower(), params).results()) for params in (small, large))
    assert one == pytest.approx(other)


def test_held_out_and_seen_regions_are_counted_apart(evaluate, kit):
    class BlindToHeldOut(kit.ColourTower):
        def encode_image(self, images):
            image, dense = super().encode_image(images)
            held_out = [kit.THINGS.index(name) for name in kit.HELD_OUT]
            dense[:, held_out] = 0
            return image, dense

    found = evaluate(BlindToHeldOut()).results()["region"]
    assert (found["mask_top1_seen"], found["mask_top1_heldout"]) == (1.0, 0.0)
    assert found["mask_top1_heldout"] < found["mask_top1"] < found["mask_top1_seen"]
    assert found["crop_top1_heldout"] == 1.0  # crops are read by the global embedding


def test_a_benchmark_without_examples_is_left_out(toy, read_with, kit):
    suite = Suite("model", read_with(kit.ColourTower()), {})
    for batch in batched((e for e in read_examples(toy, kit.CLASSES) if e.single), 4):
        suite.add(batch)
    assert set(suite.results()) == {"classification"}


def test_accuracy_per_class_names_the_classes_with_regions(evaluate, kit):
    rows = list(evaluate(kit.ColourTower()).region.per_class("mask"))
    assert [name for name, _, _ in rows] == list(kit.THINGS)
    assert {top1 for _, _, top1 in rows} == {1.0}
    assert sum(regions for _, regions, _ in rows) == 15 * 2 + 12 * 3


def test_a_metric_with_an_interval_is_what_weights_of_one_give(evaluate, kit):
    suite = evaluate(kit.RandomTower())
    results = suite.results()
    for name, evaluator in suite.evaluators.items():
        images, metrics = evaluator.weighted()
        assert set(metrics) <= set(results[name])
        for metric, weighted in metrics.items():
            assert weighted(np.ones((1, images)))[0] == pytest.approx(results[name][metric]), (name, metric)


def test_intervals_hold_the_estimate_and_a_change_is_drawn_in_pairs(evaluate, kit):
    suites = [evaluate(kit.RandomTower(seed)) for seed in (0, 0)]
    suites[1].name = "other"
    results = {suite.name: suite.results() for suite in suites}
    found = intervals(suites, results, 200)
    for benchmark, metrics in found["model"].items():
        for metric, ends in metrics.items():
            assert ends["low"] <= results["model"][benchmark][metric] <= ends["high"]
    change = flat({name: {m: e["high"] - e["low"] for m, e in each.items()} for name, each in found["change"].items()})
    assert change == pytest.approx(dict.fromkeys(change, 0.0))  # the same model twice
    assert intervals(suites, results, 0) == {}
    # 27 scenes are enough, six single objects are not
    assert {"retrieval", "region", "semantic"} <= set(found["model"])
    assert "classification" not in found["model"]
    assert "classification" not in found["change"]


def test_a_crowd_is_asked_for_only_where_it_is_kept(toy, read_with, kit):
    first = next(read_examples(toy, kit.CLASSES))
    crowd = dataclasses.replace(first, things=(first.things[0], dataclasses.replace(first.things[1], is_crowd=True)))
    counted = {}
    for rule in ("leave_out", "keep"):
        suite = Suite("model", read_with(kit.ColourTower(), kit.PARAMS.model_copy(update={"crowd": rule})), {})
        suite.add([crowd])
        counted[rule] = suite.region.regions
        assert suite.protocols()["region"]["crowd"] == rule
        assert suite.results()["panoptic"]["pq_true_masks"] == 1.0  # neither found nor missed
    assert counted == {"leave_out": 1, "keep": 2}


def test_verified_negatives_alone_count_against_a_tag(toy, read_with, kit):
    # a model that says "cat" wherever there is none, of images in which nobody looked for cats
    class Cats(kit.ColourTower):
        def encode_image(self, images):
            image, dense = super().encode_image(images)
            image[:, 2] = torch.where(image[:, 2] > 0.1, image[:, 2], 2.0)
            return torch.nn.functional.normalize(image, dim=1), dense

    scenes = [example for example in read_examples(toy, kit.CLASSES) if not example.single]
    looked = [dataclasses.replace(e, negative_tags=() if 2 in e.tags else (3,)) for e in scenes]
    found = {}
    for name, examples in (("all", scenes), ("verified", looked)):
        suite = Suite("model", read_with(Cats(), kit.PARAMS.model_copy(update={"tag_threshold": 0.5})), {})
        suite.add(examples)
        found[name] = suite.results()["tagging"]
        assert suite.protocols()["tagging"]["negatives"] == ("verified" if name == "verified" else "all other tags")
    assert found["verified"]["map"] > found["all"]["map"]
    assert found["verified"]["f1"] > found["all"]["f1"]


def test_groups_of_classes_that_the_benchmark_names_are_measured_apart(toy, read_with, kit):
    class NoCats(kit.ColourTower):
        def encode_image(self, images):
            image, dense = super().encode_image(images)
            dense[:, 2] = 0
            return image, dense

    reader = read_with(NoCats(), kit.PARAMS.model_copy(update={"readouts": ["mask"]}))
    reader.classes = dataclasses.replace(
        kit.CLASSES, groups={"rare": frozenset({"cat"}), "common": frozenset({"boat"})}
    )
    suite = Suite("model", reader, {})
    suite.add([example for example in read_examples(toy, kit.CLASSES) if not example.single])
    found = suite.results()["region"]
    assert (found["mask_top1_rare"], found["mask_top1_common"]) == (0.0, 1.0)


def test_a_tag_counts_as_much_as_its_surest_cell(toy, read_with, kit):
    """`map_dense` against average precisions computed pair by pair."""

    class Unsure(kit.RandomTower):
        def logit_scale(self):
            return torch.tensor(2.0)  # at 100 the surest cells of many images tie

    reader = read_with(Unsure(3), kit.PARAMS)
    scenes = [example for example in read_examples(toy, kit.CLASSES) if not example.single]
    seen = reader.see(scenes)
    tagging = Tagging(reader)
    tagging.add(scenes, seen)
    classes = torch.cat([reader.things, reader.stuff])
    precisions = []
    for thing in range(len(reader.things)):
        scores = []
        for dense in seen.dense:
            cells = [dense[:, row, column] for row in range(dense.shape[1]) for column in range(dense.shape[2])]
            scores.append(max(float((2 * classes @ cell).softmax(0)[thing]) for cell in cells))
        order = sorted(range(len(scenes)), key=lambda number: -scores[number])
        right = [place for place, number in enumerate(order, 1) if thing in scenes[number].tags]
        if right:
            precisions.append(sum(rank / place for rank, place in enumerate(right, 1)) / len(right))
    assert dict(tagging.results())["map_dense"] == pytest.approx(sum(precisions) / len(precisions), abs=1e-6)
