"""Reading of images and rows from quarantines."""

from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from umgclip.browse.quarantines import choose, collect, shards_of
from umgclip.errors import DataError


def test_rare_reasons_are_shown_beside_frequent_ones(kit, quarantine):
    rows = [kit.row(f"common{n}", "blurred") for n in range(500)] + [kit.row("lonely", "in_benchmark")]
    chosen = choose([quarantine(*rows)], 10, seed=0)
    assert chosen.reasons == {"blurred": 500, "in_benchmark": 1}
    assert len(set(chosen.names)) == 10
    assert "lonely" in chosen.names


def test_the_choice_does_not_depend_on_the_order_of_rows(kit, quarantine):
    rows = [kit.row(f"k{n % 70}", f"reason {n % 3}", region=str(n)) for n in range(300)]
    mixed = random.Random(0).sample(rows, len(rows))
    first = choose([quarantine(*rows)], 12, seed=5).names
    assert first == choose([quarantine(*mixed, name="mixed.parquet")], 12, seed=5).names
    assert first != choose([quarantine(*rows)], 12, seed=6).names


def test_all_rows_of_an_image_are_collected(kit, quarantine):
    table = quarantine(kit.row("a", "x", "0", detail="d"), kit.row("b", "x"), kit.row("a", "y"))
    faults = collect([table], ["a", "nobody"])
    assert [(fault.region, fault.reason, fault.detail) for fault in faults["a"]] == [("0", "x", "d"), (None, "y", "")]
    assert faults.keys() == {"a"}


def test_an_image_with_thousands_of_rows_says_so(kit, quarantine):
    faults = collect([quarantine(*[kit.row("a", "x", str(n)) for n in range(3000)])], ["a"])["a"]
    assert len(faults) == 101
    assert "more than 100 rows" in faults[-1].detail


def test_images_without_a_key_go_by_their_name_in_the_source(kit, quarantine):
    table = quarantine(kit.row(None, "empty", shard="photos/7.jpg"), kit.row(None, "truncated"))
    assert sorted(choose([table], 5, seed=0).names) == ["(no name)", "photos/7.jpg"]
    assert collect([table], ["photos/7.jpg"])["photos/7.jpg"][0].reason == "empty"


def test_a_quarantine_without_shards_is_one_too(tmp_path):
    pq.write_table(pa.table({"key": ["a"], "region_id": pa.nulls(1), "reason": ["x"]}), tmp_path / "q.parquet")
    assert choose([tmp_path / "q.parquet"], 5, seed=0).names == ["a"]
    assert collect([tmp_path / "q.parquet"], ["a"])["a"][0].region is None


def test_other_tables_are_refused(tmp_path):
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "q.parquet")
    with pytest.raises(DataError, match="expected a quarantine with key and reason, got no column 'reason'"):
        choose([tmp_path / "q.parquet"], 5, seed=0)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"torn\.parquet: not a readable table"):
        choose([tmp_path / "torn.parquet"], 5, seed=0)


def test_shards_are_found_by_key(kit, tmp_path):
    folder = kit.dataset(tmp_path / "d", [[kit.sample("a"), kit.sample("b")], [kit.sample("c")]])
    assert shards_of(folder / "images.parquet", ["b", "c", "z"]) == {"b": "000.tar", "c": "001.tar"}
