"""Visual-pattern pairs of the demo: what differs within a pair, and what its texts say."""

from collections import Counter

import numpy as np
import pytest

from umgclip.data.stream import decode, read_raw
from umgclip.errors import InputError
from umgclip.io.manifest import read_manifest
from umgclip.params import DataParams
from umgclip.sources.demo.classes import things
from umgclip.sources.demo.patterns import COLOURS, COUNTED, NUMBERS, PATTERNS, draw_pair, write_patterns

PARAMS = DataParams(shard_samples=9)


def pairs(pattern, count=6):
    return [draw_pair(PARAMS, "benchmark", pattern, index) for index in range(count)]


def changed(one, other, least=24):
    """Which pixels of a pair differ by more than JPEG would."""
    return (np.abs(one.pixels.astype(int) - other.pixels.astype(int)) > least).any(axis=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "patterns"
    counts = write_patterns(PARAMS, out, pairs=4, scenes=12)
    assert counts == {"train": 12, "benchmark": 2 * 4 * len(PATTERNS)}
    return out


def records(dataset):
    return [decode(raw, shard).record for shard, raw in read_raw(dataset)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pair_differs_in_image_and_text_and_is_the_same_each_time(pattern):
    for index, (one, other) in enumerate(pairs(pattern)):
        assert one.text != other.text
        assert changed(one, other).mean() > 0.005
        again = draw_pair(PARAMS, "benchmark", pattern, index)
        assert [side.text for side in again] == [one.text, other.text]
        assert (again[0].pixels == one.pixels).all()


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "Background"])
def test_the_ground_of_a_pair_is_the_same(pattern):
    for one, other in pairs(pattern):
        assert changed(one, other).mean() < 0.6
        corners = [side.pixels[:2, :2].astype(int) for side in (one, other)]
        assert np.abs(corners[0] - corners[1]).max() == 0


def test_left_and_right_are_exchanged():
    for one, other in pairs("Left and right"):
        first, second = one.text.split(" to the left of ")
        assert other.text == f"{second} to the left of {first}"


def test_a_count_grows_by_one_and_its_name_by_an_s():
    for one, other in pairs("Count", 12):
        numbers = [NUMBERS.index(side.text.split(" ")[0]) for side in (one, other)]
        assert numbers[1] == numbers[0] + 1
        assert other.text.split(" ", 1)[1].removesuffix("s") in COUNTED
    assert set(COUNTED) <= {thing.name for thing in things()}


def test_colours_show():
    for one, other in pairs("Colour", 12):
        names = [side.text.split(" ")[1] for side in (one, other)]
        painted = changed(one, other)
        for side, name in zip((one, other), names, strict=True):
            mean = side.pixels[painted].mean(axis=0)
            nearest = min(COLOURS, key=lambda each: np.abs(mean / mean.max() - np.array(COLOURS[each])).sum())
            assert nearest == name, side.text


def test_the_benchmark_holds_pairs_and_training_their_words(written):
    sides = [side for record in records(written / "benchmark") for side in record.pairs]
    assert Counter(side.pattern for side in sides) == dict.fromkeys(PATTERNS, 8)
    assert set(Counter(side.id for side in sides).values()) == {2}
    train = records(written / "train")
    assert all(record.pairs is None and record.captions[0].source == "alt" for record in train)
    assert {record.key for record in train}.isdisjoint(record.key for record in records(written / "benchmark"))
    assert len(read_manifest(written / "benchmark").shards) == 5


def test_pairs_replace_pairs_and_nothing_else(written, tmp_path):
    write_patterns(PARAMS, written, pairs=4, scenes=12)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="mine"):
        write_patterns(PARAMS, tmp_path / "mine", pairs=1, scenes=1)
    with pytest.raises(InputError, match="expected numbers from 1, got 0 and 1"):
        write_patterns(PARAMS, tmp_path / "none", pairs=0, scenes=1)
