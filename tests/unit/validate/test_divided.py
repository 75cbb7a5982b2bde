"""Tables that are divided by the hash of a key: nothing is lost, keys stay together, and memory stays small."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umgclip.validate import captions
from umgclip.validate.captions import canned
from umgclip.validate.divided import ROW, DividedKeys
from umgclip.validate.measures import first_copy
from umgclip.validate.slice import chosen
from umgclip.validate.tables import ColumnTable

COLUMNS = {"key": "text", "sha256": "text", "caption": "text"}
REGION_COLUMNS = {"key": "text", "region_id": "text", "labelled": "flag", "label_score": "number"}
IMAGES, EACH = 300, 7


@pytest.fixture
def divide(tmp_path: Path):
    """Divide the key columns of 300 images and 2,100 regions into parts of some rows."""
    rng = np.random.default_rng(0)
    keys = [None if n % 50 == 0 else f"image{n}" for n in range(IMAGES)]
    contents = [f"{n}" for n in rng.integers(0, 250, IMAGES)]
    images = pa.table({"key": keys, "sha256": contents, "caption": ["a dog"] * IMAGES})
    owners = [keys[n // EACH] for n in range(IMAGES * EACH)]
    regions = pa.table(
        {"key": owners, "region_id": [f"r{n}" for n in range(len(owners))], "labelled": [True] * len(owners),
         "label_score": rng.random(len(owners))}
    )  # fmt: skip
    for name, table in (("images", images), ("regions", regions)):
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=64)

    def divided(rows: int) -> tuple[DividedKeys, list[int]]:
        seen: list[int] = []
        scratch = tmp_path / f"parts-{rows}"
        scratch.mkdir()
        tables = (
            ColumnTable(tmp_path / "images.parquet", COLUMNS),
            ColumnTable(tmp_path / "regions.parquet", REGION_COLUMNS),
        )
        return DividedKeys(*tables, rows, scratch, seen.append), seen

    return divided


def test_parts_hold_every_row_once_and_all_rows_of_a_key(divide):
    whole, _ = divide(1_000_000)
    keys, seen = divide(100)
    assert (whole.parts, keys.parts) == (1, 21)
    assert sum(seen) == IMAGES + IMAGES * EACH
    parts, (one,) = list(keys), list(whole)
    for name in ("images", "regions"):
        together = pd.concat(getattr(part, name) for part in parts).sort_values(ROW, ignore_index=True)
        pd.testing.assert_frame_equal(together.drop(columns=ROW), getattr(one, name))
        assert all(getattr(part, name)[ROW].is_monotonic_increasing for part in parts)
    owners = [set(part.regions["key"].dropna()) for part in parts]
    assert sum(map(len, owners)) == len(set.union(*owners))
    assert all(of_part <= set(part.images["key"]) for of_part, part in zip(owners, parts, strict=True))
    assert sum(bool(part.regions["key"].isna().any()) for part in parts) == 1
    for part in parts:
        assert set(keys.part_of(part.regions["key"]).tolist()) <= {part.number}
        assert len(part.regions) < 4 * 100 + IMAGES * EACH // 50


def test_copies_are_found_across_parts(divide):
    whole, _ = divide(1_000_000)
    keys, _ = divide(100)
    (one,) = whole
    expected = first_copy(one.images)
    assert expected.notna().sum() > 50
    for part in keys:
        copies = keys.first_copies(part.images)
        wanted = expected.iloc[part.images[ROW]].reset_index(drop=True)
        pd.testing.assert_series_equal(copies.reset_index(drop=True), wanted, check_names=False)


def peak(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_different_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_PLACES", 1 << 14)

    def frames(rows: int) -> Iterator[pd.DataFrame]:
        for first in range(0, rows, 500):
            texts = [f"a thing called {number} on a table" for number in range(first, first + 500)]
            yield pd.DataFrame({"key": [str(n) for n in range(first, first + 500)], "caption": texts}, dtype="str")

    def search(rows: int) -> None:
        assert canned(lambda: frames(rows), 20, (), lambda _keys: pd.DataFrame()) == frozenset()

    search(500)
    assert peak(lambda: search(20_000)) < 1.5 * peak(lambda: search(1_000))


def test_texts_that_share_a_place_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_PLACES", 1)
    texts = ["withheld for safety"] * 6 + [f"number {n}" for n in range(20)]
    frame = pd.DataFrame({"key": [f"k{n}" for n in range(len(texts))], "caption": texts}, dtype="str")
    names = pd.DataFrame({"key": ["k0"], "name": ["dog"]}, dtype="str")
    halves = [frame.iloc[:4], frame.iloc[4:]]
    assert canned(lambda: iter(halves), 6, (), lambda _keys: names) == {"withheld for safety"}


def test_memory_of_the_choice_is_that_of_the_chosen() -> None:
    few, many = (peak(lambda n=n: chosen((f"image-{i}" for i in range(n)), 10)) for n in (1_000, 20_000))
    assert many < few + 4_000
