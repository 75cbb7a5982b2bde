"""Features kept between runs."""

import json

import pytest
import torch

from umgclip.evaluate.examples import batched, read_examples
from umgclip.evaluate.features import FeatureCache
from umgclip.evaluate.reader import Reader
from umgclip.evaluate.suite import Suite


@pytest.fixture
def count(toy, kit, tmp_path):
    """Runs the toy benchmark with a cache; gives the results and how many images the tower was shown."""

    def run(tower=None, model="one"):
        shown = []

        class Counting(kit.ColourTower):
            def encode_image(self, images):
                shown.append(len(images))
                return (tower or kit.ColourTower()).encode_image(images)

        cache = FeatureCache(tmp_path / "cache", model)
        suite = Suite("model", Reader(Counting(), kit.tokenize, kit.CLASSES, kit.PARAMS, cache=cache), {})
        for batch in batched(read_examples(toy, kit.CLASSES), 10):
            suite.add(batch)
        return suite.results(), sum(shown)

    return run


def test_a_second_run_computes_nothing_and_finds_the_same(count):
    first, shown = count()
    assert shown > 33
    second, again = count()
    assert again == 0
    assert json.dumps(second) == json.dumps(first)


def test_another_model_finds_nothing(count):
    _, shown = count()
    assert count(model="two")[1] == shown


def test_a_damaged_file_is_computed_anew(count, tmp_path):
    first, _ = count()
    broken = sorted((tmp_path / "cache").rglob("*.safetensors"))[0]
    broken.write_bytes(broken.read_bytes()[:-7])
    second, again = count()
    assert again > 0
    assert json.dumps(second) == json.dumps(first)
    assert count()[1] == 0


def test_features_depend_on_every_input(tmp_path):
    cache = FeatureCache(tmp_path, "model")
    pixels, valid = torch.zeros(1, 3, 4, 4), torch.ones(1, 2, 2, dtype=torch.bool)
    inputs = [(pixels, None), (pixels + 1, None), (pixels, valid), (pixels, ~valid), (pixels.reshape(1, 3, 2, 8), None)]
    for number, each in enumerate(inputs):
        cache.get("image", each, lambda number=number: {"image": torch.tensor([float(number)])})
    found = [cache.get("image", each, dict)["image"].item() for each in inputs]
    assert found == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert cache.get("crop", inputs[0], lambda: {"image": torch.tensor([9.0])})["image"].item() == 9.0
