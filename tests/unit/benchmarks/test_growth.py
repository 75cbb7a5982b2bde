"""Growth of costs: the fitted exponent, what is too steep, generated data, and the page."""

import hashlib
import math

import pytest

from benchmarks.growth import generated, page
from benchmarks.growth.costs import BY_NAME, COSTS, Cost
from benchmarks.growth.fit import exponent, n_log_n
from benchmarks.growth.process import measured
from umgclip.io.images import decode_image
from umgclip.io.manifest import read_manifest, verify

SIZES = [1_000, 10_000, 100_000, 1_000_000]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_the_cost(power):
    assert exponent(SIZES, [3.0 * size**power for size in SIZES]) == pytest.approx(power)


def test_what_every_size_pays_does_not_hide_the_slope():
    assert exponent(SIZES, [100.0 + 0.01 * size for size in SIZES]) == pytest.approx(1.0, abs=0.05)
    assert exponent(SIZES, [size * math.log(size) for size in SIZES]) == pytest.approx(n_log_n(1e5, 1e6), abs=0.01)


def test_without_two_values_there_is_no_exponent():
    assert exponent([10], [1.0]) is None
    assert exponent([10, 100], [0.0, 1.0]) is None


def results(times, memory):
    return {str(size): {"cpu_s": t, "memory_mb": m} for size, t, m in zip(SIZES, times, memory, strict=True)}


def test_what_grows_faster_than_it_may_is_said():
    cost = Cost("a cost", "images", tuple(SIZES), lambda _size, _folder: lambda: None)
    flat, linear = [60.0] * 4, [size / 1e3 for size in SIZES]
    assert page.too_steep(cost, results(linear, flat)) == []
    assert page.too_steep(cost, results([size * math.log(size) for size in SIZES], flat)) == []
    (words,) = page.too_steep(cost, results([size**1.5 for size in SIZES], flat))
    assert words.startswith("a cost: time grows with exponent 1.50, above 1.1")
    (words,) = page.too_steep(cost, results(linear, [10.0 * size / 1e3 for size in SIZES]))
    assert words.startswith("a cost: memory grows with exponent ")
    quadratic = Cost("b", "images", tuple(SIZES), cost.prepare, quadratic=True, memory_grows=True)
    assert page.too_steep(quadratic, results([size**2 for size in SIZES], linear)) == []


def test_the_page_has_a_row_for_each_cost_a_figure_and_what_failed(tmp_path):
    path = tmp_path / "growth.md"
    path.write_text("a\n<!-- growth -->\nold\n<!-- /growth -->\nb\n")
    first, second = COSTS[0], COSTS[1]
    stored = {first.name: results([1.0, 10.0, 100.0, 1000.0], [5.0] * 4), second.name: {"1000": {"failed": "no disk"}}}
    page.write(path, stored)
    text = path.read_text()
    assert "1k to 1,000k images | 1 to 1,000 s | 1.00 | 5 to 5 MB | 0.00 |" in text
    assert f"* {second.name} at 1,000: no disk" in text
    assert (text.startswith("a\n"), text.endswith("\nb\n"), "old" in text) == (True, True, False)
    assert 0 < (tmp_path / "growth.png").stat().st_size < 200_000
    with pytest.raises(SystemExit, match="expected <!-- growth -->"):
        page.write(page.STORED.parents[2] / "LICENSE", stored)


def test_stored_results_are_read_again_in_order(tmp_path):
    path = tmp_path / "results.json"
    page.store({COSTS[1].name: {"10": {"a": 1}}, COSTS[0].name: {"300": {}, "20": {}}}, path)
    stored = page.load(path)
    assert list(stored) == [COSTS[0].name, COSTS[1].name]
    assert list(stored[COSTS[0].name]) == ["20", "300"]


def test_sizes_are_cut_by_what_they_weigh():
    assert BY_NAME["import of tars"].measured_sizes(1e4)[-1] == 10_000
    assert BY_NAME["validate"].measured_sizes(1e4)[-1] == 100_000


def test_generated_images_are_all_different_and_whole():
    images = [generated.jpeg(number) for number in range(130)]
    assert len({hashlib.sha256(image).hexdigest() for image in images}) == 130
    assert decode_image(images[129], where="here").shape == (32, 32, 3)


def test_a_generated_dataset_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "SHARD", 8)
    folder = generated.write_dataset(tmp_path / "data", 20, regions=2)
    manifest = read_manifest(folder)
    assert [shard.samples for shard in manifest.shards] == [8, 8, 4]
    verify(folder)


def test_memory_that_was_freed_again_is_counted():
    figures = measured(lambda: len(bytearray(b"x" * 50_000_000)))
    assert 45 < figures["memory_mb"] < 200
    assert measured(lambda: 7.5)["memory_mb"] == 7.5


@pytest.mark.parametrize("name", ["training's order, an epoch", "vocabulary from captions", "batch of 16 collated"])
def test_a_cost_can_be_measured(name, tmp_path):
    figures = measured(BY_NAME[name].prepare(50, tmp_path))
    assert figures["cpu_s"] >= 0
    assert figures["memory_mb"] >= 0
