"""The true text of a region against others, with towers that see colours, or nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from umgclip.evaluate.benchmarks.fine_grained import FineGrained
from umgclip.evaluate.benchmarks.variants import best_of_other_half
from umgclip.evaluate.examples import batched, open_benchmark, read_examples


@pytest.fixture
def scenes(toy):
    _, classes = open_benchmark(toy)
    return [example for example in read_examples(toy, classes) if not example.single]


@pytest.fixture
def measure(scenes, read_with, kit):
    def run(tower, examples=None, **changes):
        reader = read_with(tower, kit.PARAMS.model_copy(update=changes))
        benchmark = FineGrained(reader)
        for batch in batched(iter(examples or scenes), 5):
            benchmark.add(batch, reader.see(batch))
        return benchmark

    return run


def test_a_model_that_is_always_right_is_right(measure, kit):
    benchmark = measure(kit.ColourTower())
    found = dict(benchmark.results())
    assert found == {"box_top1": 1.0, "mask_top1": 1.0, "crop_top1": 1.0, "maskout_top1": 1.0}
    block = benchmark.protocol()
    assert (block["images"], block["regions"]) == (27, 15 * 2 + 12 * 3)
    assert block["other_texts"] == f"7 of {block['regions']} regions"
    assert (block["ties"], block["texts_cut"]) == ("count against the model", 0)


def test_a_model_that_sees_nothing_is_near_chance(measure, kit):
    runs = [dict(measure(kit.RandomTower(seed), readouts=["box"]).results())["box_top1"] for seed in range(8)]
    assert np.mean(runs) == pytest.approx(1 / 8, abs=0.04)


def test_scores_are_those_of_each_region_against_its_own_texts(measure, scenes, kit):
    benchmark = measure(kit.RandomTower(3), readouts=["mask"])
    tower, names = kit.RandomTower(3), (*kit.THINGS, *kit.STUFF)
    expected = []
    for batch in batched(iter(scenes), 5):
        _, dense = tower.encode_image(torch.zeros(len(batch), 3, kit.SIDE, kit.SIDE))
        for example, grid in zip(batch, dense, strict=True):
            for one in example.described:
                mean = grid[:, torch.from_numpy(one.region.mask)].mean(1)
                scores = [float(mean[names.index(text.removeprefix("a "))]) for text in (one.text, *one.others)]
                expected.append(scores[0] > max(scores[1:]))
    assert benchmark.right("mask").tolist() == expected


def test_a_tie_counts_against_the_model(measure, scenes, kit):
    twice = [
        dataclasses.replace(e, described=tuple(dataclasses.replace(d, others=(d.text,)) for d in e.described))
        for e in scenes
    ]
    assert dict(measure(kit.ColourTower(), twice, readouts=["box"]).results()) == {"box_top1": 0.0}


def test_regions_with_ten_others_are_told_apart(measure, scenes, kit):
    few = dataclasses.replace(scenes[0], described=scenes[0].described[:1])  # right
    wrong = scenes[1].described[0]
    many = dataclasses.replace(
        scenes[1], described=(dataclasses.replace(wrong, text=wrong.others[0], others=(wrong.text,) * 10),)
    )
    benchmark = measure(kit.ColourTower(), [few, many], readouts=["box"])
    assert dict(benchmark.results()) == {"box_top1": 0.5, "box_top1_ten": 0.0}
    assert benchmark.protocol()["other_texts"] == "7 of 1 regions, 10 of 1 regions"


def test_read_outs_of_masks_read_the_regions_that_have_one(measure, scenes, kit):
    bare = dataclasses.replace(
        scenes[0],
        described=tuple(
            dataclasses.replace(d, region=dataclasses.replace(d.region, mask=None)) for d in scenes[0].described
        ),
    )
    benchmark = measure(kit.ColourTower(), [bare, scenes[1]], readouts=["box", "mask"])
    assert len(benchmark.right("box")) == len(bare.described) + len(scenes[1].described)
    assert len(benchmark.right("mask")) == len(scenes[1].described)


def test_texts_that_are_cut_are_counted_once(scenes, kit, read_with):
    class Short:
        def __call__(self, texts):
            return kit.tokenize(texts)

        def cut(self, texts):
            return [text for text in dict.fromkeys(texts) if text in ("a fox", "a apple")]

    reader = read_with(kit.ColourTower())
    reader.clip = dataclasses.replace(reader.clip, tokenize=Short())
    benchmark = FineGrained(reader)
    for example in scenes[:3]:
        benchmark.add([example], reader.see([example]))
    assert benchmark.protocol()["texts_cut"] == 2


def test_weights_of_one_give_the_metric(measure, kit):
    benchmark = measure(kit.RandomTower())
    images, metrics = benchmark.weighted()
    results = dict(benchmark.results())
    assert set(metrics) == set(results)
    for name, metric in metrics.items():
        assert metric(np.ones((1, images)))[0] == pytest.approx(results[name])


def test_of_several_variants_the_best_on_the_other_half_counts():
    values = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    right = np.array([[True, True, False, False], [False, False, True, True]])
    second = np.array([False, False, True, True])
    assert best_of_other_half(values, right, second).tolist() == [5, 6, 3, 4]
    assert best_of_other_half(values[:1], right[:1], second).tolist() == [1, 2, 3, 4]
