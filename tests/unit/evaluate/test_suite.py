"""Models of known skill through all six benchmarks."""

import pytest

from umgclip.evaluate.annotator import read_proposals
from umgclip.evaluate.benchmark import batched, open_benchmark, read_examples
from umgclip.evaluate.suite import PROTOCOLS, Suite


@pytest.fixture
def evaluate(toy, read_with, kit):
    """Run a tower through the toy benchmark; the truth serves as the annotator's proposals."""

    def run(tower, params=kit.PARAMS):
        _, classes = open_benchmark(toy)
        suite = Suite("model", read_with(tower, params), read_proposals(toy))
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


def test_a_model_that_sees_nothing_is_near_chance(evaluate, kit):
    runs = [flat(evaluate(kit.RandomTower(seed)).results()) for seed in range(6)]
    mean = {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}
    assert mean["retrieval.i2t_r1"] == pytest.approx(1 / 27, abs=0.05)
    assert mean["retrieval.t2i_r10"] == pytest.approx(10 / 27, abs=0.12)
    for readout in ("box", "crop", "maskout"):
        assert mean[f"region.{readout}_top1"] == pytest.approx(1 / 6, abs=0.08)
    assert mean["semantic.pixel_accuracy"] == pytest.approx(1 / 8, abs=0.03)
    assert mean["classification.top1"] == pytest.approx(1 / 6, abs=0.17)


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
