"""Pairs of coloured squares of which a model tells all apart, or none."""

import dataclasses

import numpy as np
import pytest
import torch

from umgclip.errors import DataError
from umgclip.evaluate.benchmarks.patterns import Patterns
from umgclip.evaluate.examples import batched, open_benchmark, read_examples
from umgclip.records import PairSide

PAIRS = [(pattern, one, other) for pattern in ("First and second", "Other") for one in range(4) for other in (4, 5)]


@pytest.fixture
def paired(kit, tmp_path):
    """Pairs of squares: a fruit and another, by two patterns."""
    samples = []
    for number, (pattern, *labels) in enumerate(PAIRS):
        for label in labels:
            drawn = kit.draw([label], number % 2, slots=kit.SLOTS[number // 4 :])
            side = PairSide(id=f"{number}", pattern=pattern, text=f"one {kit.THINGS[label]} there")
            known = next((each for each in samples if each.record.key == drawn.record.key), None)
            if known is not None:  # an image may be in several pairs
                samples.remove(known)
                drawn = known
            record = drawn.record.model_copy(update={"pairs": [*(drawn.record.pairs or []), side]})
            samples.append(dataclasses.replace(drawn, record=record))
    return kit.write_dataset(tmp_path / "pairs", samples, kit.TOY_CLASSES)


@pytest.fixture
def match(paired, read_with):
    def run(tower, size=5, examples=None):
        _, classes = open_benchmark(paired)
        reader = read_with(tower)
        benchmark = Patterns(reader)
        every = read_examples(paired, classes) if examples is None else iter(examples)
        for batch in batched(every, size):
            benchmark.add(batch, reader.see(batch))
        return benchmark

    return run


def test_a_model_that_is_always_right_matches_every_pair(match, kit):
    benchmark = match(kit.ColourTower())
    results = dict(benchmark.results())
    each = ("t2i_first_and_second", "i2t_first_and_second", "t2i_other", "i2t_other")
    assert results == dict.fromkeys(("t2i", "i2t", "both", *each), 1.0)
    protocol = benchmark.protocol()
    assert (protocol["pairs"], protocol["images"]) == (16, 32)
    assert protocol["patterns"] == "First and second: 8 | Other: 8"
    assert protocol["images_without_partner"] == 0
    assert all(choice.right for choice in benchmark.choices().values())


def test_a_model_that_sees_nothing_is_at_chance(match, kit):
    runs = [dict(match(kit.RandomTower(seed)).results()) for seed in range(12)]
    mean = {name: np.mean([run[name] for run in runs]) for name in ("t2i", "i2t", "both")}
    assert mean == pytest.approx({"t2i": 1 / 4, "i2t": 1 / 4, "both": 1 / 6}, abs=0.08)


def test_the_mean_is_over_patterns_and_weights_of_one_give_it(match, kit, paired):
    _, classes = open_benchmark(paired)
    kept = [e for e in read_examples(paired, classes) if not any(int(side.id) < 5 for side in e.pairs)]
    benchmark = match(kit.RandomTower(), examples=kept)  # of one pattern fewer pairs than of the other
    results = dict(benchmark.results())
    assert results["t2i"] == pytest.approx((results["t2i_first_and_second"] + results["t2i_other"]) / 2)
    pairs, metrics = benchmark.weighted()
    assert set(metrics) == set(results)
    assert {name: metric(np.ones((1, pairs)))[0] for name, metric in metrics.items()} == pytest.approx(results)


def test_batches_and_order_make_no_difference(match, kit, paired):
    _, classes = open_benchmark(paired)

    class Blurred(kit.ColourTower):
        def encode_image(self, images):
            image, dense = super().encode_image(images)
            return torch.nn.functional.normalize(image + 0.9 * image.roll(1, dims=1), dim=1), dense

    backwards = list(read_examples(paired, classes))[::-1]
    runs = [match(Blurred(), 1), match(Blurred(), 64), match(Blurred(), 3, backwards)]
    first, *others = (dict(sorted(dict(run.results()).items())) for run in runs)
    assert all(other == first for other in others)


def test_an_image_without_partner_is_counted_and_measures_nothing(match, kit, paired):
    _, classes = open_benchmark(paired)
    alone = match(kit.ColourTower(), examples=list(read_examples(paired, classes))[:1])
    assert list(alone.results()) == []
    assert alone.weighted() == (0, {})
    assert alone.protocol()["images_without_partner"] >= 1


def test_a_third_image_and_a_second_pattern_are_errors(match, kit, paired):
    _, classes = open_benchmark(paired)
    first, *rest = read_examples(paired, classes)
    side = first.pairs[0]
    partner = next(e for e in rest if any(other.id == side.id for other in e.pairs))
    other = dataclasses.replace(partner, pairs=(side.model_copy(update={"pattern": "New"}),))
    with pytest.raises(DataError, match=f"pair {side.id}: expected one pattern, got 'First and second' and 'New'"):
        match(kit.ColourTower(), examples=[dataclasses.replace(first, pairs=(side,)), other])
    with pytest.raises(DataError, match=f"pair {side.id}: expected two images, got a third"):
        match(kit.ColourTower(), examples=[dataclasses.replace(e, pairs=(side,)) for e in (first, *rest[:2])])
