"""The order of a mixture: proportions by weight, each dataset's own order intact, and the same from any position."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import pytest

from umgclip.data.mixture import UNNAMED, DrawTurns, MixedOrder, datasets_of
from umgclip.data.order import SampleOrder, StoredSample
from umgclip.data.stream import read_raw
from umgclip.errors import InputError
from umgclip.io.manifest import read_manifest, write_manifest

SIZES = (5, 3, 8, 4)
NAMES = ("big", "mine", "big", "mine")  # 13 and 7 samples


@pytest.fixture
def dataset(write_dataset: Callable[..., Path]) -> Path:
    """Shards of two imports, one after the other in turn."""
    folder = write_dataset(SIZES)
    manifest = read_manifest(folder)
    shards = [shard.model_copy(update={"dataset": name}) for shard, name in zip(manifest.shards, NAMES, strict=True)]
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))
    return folder


def drawn(
    folder: Path, weights: Mapping[str, float], samples: int, start: int = 0, stream: int = 0, streams: int = 1
) -> list[StoredSample]:
    order = MixedOrder(folder, read_manifest(folder), 3, weights, streams)
    return list(islice(order.stream(stream, start), samples))


def test_a_manifest_is_divided_by_the_names_of_its_shards(dataset: Path) -> None:
    parts = datasets_of(read_manifest(dataset))
    assert {name: part.samples for name, part in parts.items()} == {"big": 13, "mine": 7}


@pytest.mark.parametrize("weights", [{"big": 1.0, "mine": 1.0}, {"big": 1.0, "mine": 4.0}, {"big": 10.0, "mine": 2.5}])
def test_a_sample_comes_as_often_as_the_weight_of_its_dataset_says(dataset: Path, weights: dict[str, float]) -> None:
    counts = Counter(stored.raw.key for stored in drawn(dataset, weights, 2000))
    owner = {raw.key: NAMES[int(raw.key[1])] for _, raw in read_raw(dataset)}
    total = sum(weights[name] for name in owner.values())
    for key, name in owner.items():  # each epoch of a dataset shows all of it once
        assert counts[key] == pytest.approx(2000 * weights[name] / total, abs=2)


def test_every_stretch_has_the_proportions_of_the_mixture(dataset: Path) -> None:
    names = [stored.dataset for stored in drawn(dataset, {"big": 1.0, "mine": 4.0}, 400)]
    share = 4 * 7 / (4 * 7 + 13)
    for first in range(0, 400, 16):
        assert abs(names[first : first + 16].count("mine") - 16 * share) <= 2


def test_each_dataset_keeps_the_order_that_it_has_alone(dataset: Path) -> None:
    mixed = drawn(dataset, {"big": 1.0, "mine": 4.0}, 300)
    for name, part in datasets_of(read_manifest(dataset)).items():
        of_it = [stored.raw.key for stored in mixed if stored.dataset == name]
        alone = islice(SampleOrder(dataset, part, 3).stream(0), len(of_it))
        assert of_it == [stored.raw.key for stored in alone]


@pytest.mark.parametrize("streams", [1, 3])
def test_the_order_goes_on_from_any_position(dataset: Path, streams: int) -> None:
    weights = {"big": 1.0, "mine": 0.3}
    for stream in range(streams):
        whole = drawn(dataset, weights, 90, stream=stream, streams=streams)
        for start in (1, 7, 20, 61):
            rest = drawn(dataset, weights, 90 - start, start, stream, streams)
            assert [one.raw.key for one in rest] == [one.raw.key for one in whole[start:]]


def test_streams_divide_each_dataset(dataset: Path) -> None:
    """In three streams of 20 draws each, no sample of weight 1 comes twice as often as another."""
    parts = [drawn(dataset, {"big": 1.0, "mine": 1.0}, 20, stream=index, streams=3) for index in range(3)]
    counts = Counter(stored.raw.key for part in parts for stored in part)
    assert len(counts) == 20
    assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.5], [0.9, 0.06, 0.03, 0.01], [0.98] + [0.0025] * 8])
def test_turns_go_on_from_any_draw(shares: list[float]) -> None:
    phases = [0.37 * (number + 1) % 1 for number in range(len(shares))]
    whole = list(islice(DrawTurns(shares, phases), 3000))
    for start in (1, 5, 50, 999, 2500):
        turns = DrawTurns(shares, phases, start)
        assert turns.drawn == [whole[:start].count(which) for which in range(len(shares))]
        assert list(islice(turns, 500)) == whole[start : start + 500]
    for which, share in enumerate(shares):
        assert whole.count(which) == pytest.approx(3000 * share, abs=len(shares))


def test_a_weight_of_zero_leaves_a_dataset_out(dataset: Path) -> None:
    assert {stored.dataset for stored in drawn(dataset, {"big": 0.0, "mine": 2.0}, 50)} == {"mine"}


def test_shards_without_a_name_are_a_dataset_of_their_own(write_dataset: Callable[..., Path]) -> None:
    folder = write_dataset((3,), "plain")
    assert {stored.dataset for stored in drawn(folder, {UNNAMED: 1.0}, 5)} == {UNNAMED}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"big": 1.0, "mind": 1.0}, r"expected names of datasets, got mind; there are big \(13 images\), mine \(7"),
        ({"big": 1.0}, "expected a weight for each dataset, got none for mine; .* 0.0 to leave it out"),
        ({"big": 0.0, "mine": 0.0}, "expected a weight above 0, got 0 for all"),
    ],
)
def test_weights_that_do_not_name_the_datasets_are_refused(
    dataset: Path, weights: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=f"train.mixture: {message}"):
        drawn(dataset, weights, 1)
