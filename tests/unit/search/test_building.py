"""Making an index: rows of samples, runs on a changed dataset, killed runs, bad data, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from umgclip.errors import DataError, InputError
from umgclip.search import RegionIndex, SearchFilter, building, store
from umgclip.search.state import read_state

pytest.importorskip("lancedb")


def rows_of(out):
    """All rows of the complete version, as (split, shard, position, region) -> row."""
    table = store.open_table(out, store.ROWS)
    table.checkout(read_state(out).table_version)
    rows = store.scan(table, table.schema.names)
    listed = [((row["shard"], row["position"], row["region_id"]), row) for row in rows]
    assert len(dict(listed)) == len(listed), "a row is there twice"
    return dict(listed)


def assert_same(out, other):
    """Compare two indices; vectors may differ by rounding, since batches differ."""
    left, right = rows_of(out), rows_of(other)
    assert left.keys() == right.keys()
    for key, row in left.items():
        assert np.allclose(row.pop("vector"), right[key].pop("vector"), atol=2e-3)
        assert row == right[key]


@pytest.fixture
def folder(kit, tmp_path):
    shards = {f"{n}.tar": [kit.sample(f"k{n}-{i}") for i in range(5)] for n in range(4)}
    return kit.write(tmp_path / "data", shards)


def test_a_row_for_each_image_and_region_with_vectors_of_the_model(kit, model, folder, tmp_path):
    kit.build(folder, tmp_path / "index")
    rows = rows_of(tmp_path / "index")
    assert len(rows) == 20 * 3
    image, boxed, masked = (rows["2.tar", 3, region] for region in (None, "r1", "r0"))
    assert (image["kind"], image["key"], image["box_xyxy"]) == ("image", "k2-3", [0, 0, 80, 60])
    assert (boxed["kind"], boxed["label"], boxed["captions"]) == ("region", "red mug", ["a red mug in k2-3"])
    assert (boxed["box_xyxy"], boxed["dataset"], boxed["split"]) == ([4, 2, 34, 42], "kitchen", "train")
    raw = kit.sample("k2-3").image
    inside = np.zeros((60, 80), bool)
    inside[10:40, 20:60] = True
    assert np.allclose(image["vector"], model.embed_images(raw)[0], atol=2e-3)
    assert np.allclose(boxed["vector"], model.embed_boxes(raw, [[4, 2, 34, 42]])[0], atol=2e-3)
    assert np.allclose(masked["vector"], model.embed_masks(raw, [inside])[0], atol=2e-3)


def test_a_second_run_embeds_only_what_is_new_or_changed(kit, model, folder, tmp_path):
    out = tmp_path / "index"
    kit.build(folder, out)
    counting = kit.Counting(model)
    kit.build(folder, out, counting)
    assert counting.images == 0
    shards = {
        "0.tar": [kit.sample(f"k0-{i}") for i in range(5)],
        "1.tar": [kit.sample("k1-0"), kit.sample("new"), kit.sample("k1-2", label="blue mug")],  # two gone, two moved
        "3.tar": [*(kit.sample(f"k3-{i}") for i in range(5)), kit.sample("k1-4")],
    }
    for old in folder.glob("*.tar"):
        old.unlink()
    kit.write(folder, shards)
    summary = dict(kit.build(folder, out, counting).rows)
    assert counting.images == 2
    assert summary["embedded now"] == "2 images; 7 moved, 5 as before"
    kit.build(folder, tmp_path / "fresh")
    assert_same(out, tmp_path / "fresh")
    assert {row["key"] for row in rows_of(out).values()} == {
        *(f"k0-{i}" for i in range(5)), *(f"k3-{i}" for i in range(5)), "k1-0", "k1-2", "k1-4", "new",
    }  # fmt: skip


@pytest.mark.parametrize("after", [1, 7, 15])
def test_an_interrupted_run_continues_and_ends_as_another(kit, model, folder, tmp_path, monkeypatch, after):
    monkeypatch.setattr(building, "_GROUP_ROWS", 6)
    kit.build(folder, tmp_path / "whole")
    counting = kit.Counting(model)
    counting.most = after
    with pytest.raises(KeyboardInterrupt):
        kit.build(folder, tmp_path / "index", counting)
    with pytest.raises(InputError, match="has not come to its end; run it again, it continues: umgclip index"):
        RegionIndex.open(tmp_path / "index", model)
    written, counting.images, counting.most = counting.images, 0, 10**9
    kit.build(folder, tmp_path / "index", counting)
    assert counting.images <= 20 - written + 5
    assert_same(tmp_path / "index", tmp_path / "whole")


def test_searches_see_the_last_complete_run(kit, model, folder, tmp_path, monkeypatch):
    out = tmp_path / "index"
    kit.build(folder, out)
    monkeypatch.setattr(building, "_GROUP_ROWS", 1)
    kit.write(folder, {"9.tar": [kit.sample(f"other{i}") for i in range(3)]})
    monkeypatch.setattr(building._Builder, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        kit.build(folder, out)
    index = RegionIndex.open(out, model)
    assert len(index) == 60
    hits = index.search(image=kit.sample("other0").image, top=60, only=SearchFilter(what="both"))
    assert not any(hit.key.startswith("other") for hit in hits)


@pytest.mark.filterwarnings("ignore:optimize.cleanup_older_than=0")
def test_an_open_index_follows_when_its_version_is_deleted(kit, model, folder, tmp_path, monkeypatch):
    out = tmp_path / "index"
    kit.build(folder, out)
    index = RegionIndex.open(out, model)
    monkeypatch.setattr(store, "_GRACE", store.timedelta(0))
    kit.write(folder, {"9.tar": [kit.sample(f"other{i}") for i in range(3)]})
    kit.build(folder, out)
    assert {hit.key for hit in index.search(image=kit.sample("other0").image)} == {"other0", "other1", "other2"}


def test_bad_samples_and_regions_are_counted_and_listed(kit, folder, tmp_path):
    outside = json.loads(kit.sample("outside").json)
    outside["regions"][1]["box_xyxy"] = [90, 2, 99, 9]
    samples = [
        kit.sample("ünï"),
        kit.sample("broken", broken=True),
        kit.sample("small", width=70),
        replace(kit.sample("outside"), json=json.dumps(outside).encode()),
    ]
    kit.write(folder, {"0.tar": samples})
    out = tmp_path / "index"
    summary = dict(kit.build(folder, out).rows)
    assert summary["images"] == "2"
    assert summary["could not be embedded"].startswith("2 images, 1 regions; see ")
    rows = pq.read_table(out / "quarantine.parquet").to_pylist()
    listed = {(row["key"], row["region_id"], row["stage"], row["reason"]) for row in rows}
    assert listed == {
        ("broken", None, "index", "unreadable"),
        ("small", None, "index", "unreadable"),  # its mask is of another size than the record
        ("outside", "r1", "index", "bad_region"),
    }
    assert any("expected a part inside 80 x 60 pixels, got [90, 2, 99, 9]" in row["detail"] for row in rows)
    kit.build(folder, out)
    assert len(pq.read_table(out / "quarantine.parquet")) == 3
    kit.write(folder, {"1.tar": samples[:1]})
    kit.build(folder, out)
    assert not (out / "quarantine.parquet").exists()


def test_a_damaged_shard_ends_the_run_and_leaves_nothing_of_it(kit, model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_LOOK_UP", 2)
    monkeypatch.setattr(building, "_GROUP_ROWS", 1)
    path = folder / "2.tar"
    data = path.read_bytes()
    path.write_bytes(data[:9000] + bytes([1]) * (len(data) - 9000))
    with pytest.raises(DataError, match=r"2\.tar"):
        kit.build(folder, tmp_path / "index")
    shards = {row["shard"] for row in store.scan(store.open_table(tmp_path / "index", store.ROWS), ["shard"])}
    assert shards == {"0.tar", "1.tar"}
    path.write_bytes(data)
    kit.build(folder, tmp_path / "index")
    kit.build(folder, tmp_path / "whole")
    assert_same(tmp_path / "index", tmp_path / "whole")


def test_nothing_to_embed_is_an_error(kit, folder, tmp_path):
    kit.write(folder, {"0.tar": [kit.sample("broken", broken=True)]})
    with pytest.raises(DataError, match="expected images that can be embedded, found none: .*broken"):
        kit.build(folder, tmp_path / "index")


def test_another_model_dataset_or_folder_is_refused(kit, make_model, folder, tmp_path):
    out = tmp_path / "index"
    kit.build(folder, out)
    with pytest.raises(InputError, match="made with another model, tiny .*use --model tiny, or make an index of this"):
        kit.build(folder, out, make_model(1))
    other = kit.write(tmp_path / "other", {"0.tar": [kit.sample("a")]})
    with pytest.raises(InputError, match="is the index of .*data, got .*other; give each dataset an index of its own"):
        kit.build(other, out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"expected a new or empty folder, or an index, found no index\.json"):
        kit.build(folder, tmp_path / "mine")
    (out / "index.json").write_text('{"version": 1, "dataset": 3}')
    with pytest.raises(DataError, match=r"index\.json: dataset: .*delete .* and run `umgclip index` again"):
        kit.build(folder, out)


def test_one_model_by_another_name_is_the_same(kit, make_model, folder, tmp_path):
    kit.build(folder, tmp_path / "index")
    kit.build(folder, tmp_path / "index", make_model(0))
    assert read_state(tmp_path / "index").model.source == "tiny"
