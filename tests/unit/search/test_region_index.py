"""Searches: exact against numpy, by text, picture and vector, with conditions, with and without a vector index."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from umgclip.errors import InputError
from umgclip.search import RegionIndex, SearchFilter, store
from umgclip.search.rows import as_table, row_schema
from umgclip.search.state import IndexState, ModelMark, write_state
from umgclip.search.vector_index import has_vector_index, tune

pytest.importorskip("lancedb")
DIM = 32


@pytest.fixture(scope="module")
def index(demo_index, model):
    return RegionIndex.open(demo_index, model)


def vectors_of(index, condition=None):
    rows = list(store.scan(index._table, ["key", "region_id", "kind", "vector"], condition))
    matrix = np.array([row["vector"] for row in rows], np.float32)
    return rows, matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def test_a_text_finds_what_numpy_finds(index, model):
    rows, matrix = vectors_of(index, "kind = 'region'")
    cosines = matrix @ model.embed_texts("a red apple")[0]
    best = np.argsort(-cosines)[:10]
    hits = index.search("a red apple", top=10)
    assert [(hit.key, hit.region_id) for hit in hits] == [(rows[i]["key"], rows[i]["region_id"]) for i in best]
    assert np.allclose([hit.similarity for hit in hits], cosines[best], atol=1e-5)
    assert all(hit.kind == "region" and len(hit.box_xyxy) == 4 for hit in hits)


def test_pictures_and_parts_of_them(index, model):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    whole = index.search(image=buffer.getvalue(), top=3, only=SearchFilter(what="images"))
    same = index.search(vector=model.embed_images(pixels)[0], top=3, only=SearchFilter(what="images"))
    assert [hit.key for hit in whole] == [hit.key for hit in same]
    part = index.vector_of(image=pixels, box_xyxy=(5, 5, 40, 45))
    assert np.allclose(part, model.embed_boxes(pixels, [[5, 5, 40, 45]])[0])


def test_a_region_is_most_similar_to_itself(index):
    hit = index.search("grass", top=1)[0]
    first = index.similar_to(hit, top=2)[0]
    assert (first.key, first.region_id) == (hit.key, hit.region_id)
    assert first.similarity == pytest.approx(1.0, abs=1e-3)


def names(hits):
    return sorted((hit.key, hit.region_id) for hit in hits)


def test_conditions(index):
    every = index.search("dog", top=1000)
    label = every[5].label
    labelled = index.search("dog", top=1000, only=SearchFilter(label=label.upper()))
    assert names(labelled) == names(hit for hit in every if label in hit.tags)
    large = index.search("dog", top=1000, only=SearchFilter(min_size_px=40))
    shorter = [min(h.box_xyxy[2] - h.box_xyxy[0], h.box_xyxy[3] - h.box_xyxy[1]) for h in every]
    assert names(large) == names(hit for hit, side in zip(every, shorter, strict=True) if side >= 40)
    single = index.search("dog", top=1000, only=SearchFilter(dataset="demo/singles", what="both"))
    assert {hit.dataset for hit in single} == {"demo/singles"}
    assert index.search("dog", only=SearchFilter(dataset="it's; DROP TABLE rows --")) == []
    assert index.search("dog", only=SearchFilter(split="train")) == []
    both = index.search("dog", top=1000, only=SearchFilter(what="both"))
    assert len(both) == len(index)


def test_one_result_per_image_is_its_best(index):
    every = index.search("dog", top=1000)
    best = {}
    for hit in every:
        best.setdefault(hit.key, hit)
    for top in (1, 3, 1000):
        single = index.search("dog", top=top, only=SearchFilter(one_per_image=True))
        assert [hit.key for hit in single] == [hit.key for hit in best.values()][:top]
        assert np.allclose(
            [hit.similarity for hit in single], [hit.similarity for hit in best.values()][:top], atol=1e-5
        )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "expected one of text, image and vector"),
        ({"text": "dog", "vector": [1.0]}, "expected one of text, image and vector"),
        ({"text": "  "}, "text: expected words, got '  '"),
        ({"vector": [1.0, 2.0]}, r"vector: expected 64 numbers, got an array of float64 with the shape \(2,\)"),
        ({"vector": np.full(64, np.nan)}, "vector: expected finite numbers that are not all 0"),
        ({"vector": np.zeros(64)}, "vector: expected finite numbers that are not all 0"),
        ({"text": "dog", "top": 0}, "top: expected a whole number from 1 to 10000, got 0"),
        ({"image": b"none"}, "image"),
    ],
)
def test_bad_queries_are_refused(index, query, message):
    with pytest.raises(Exception, match=message) as caught:
        index.search(**query)
    assert caught.value.exit_code in (2, 3)


def test_bad_conditions_are_refused():
    with pytest.raises(InputError, match="what: expected one of regions, images, both, got 'boxes'"):
        SearchFilter(what="boxes")
    with pytest.raises(InputError, match="min_size_px: expected a number of at least 0, got nan"):
        SearchFilter(min_size_px=float("nan"))


def test_another_model_is_refused_before_a_search(demo_index, make_model, model):
    with pytest.raises(InputError, match="was made with another model, tiny"):
        RegionIndex.open(demo_index, make_model(1)).search("dog")
    vector = model.embed_texts("dog")[0]
    assert RegionIndex.open(demo_index).search(vector=vector)  # a vector needs no model
    with pytest.raises(InputError, match="was made with tiny: model: expected models:/NAME@ALIAS"):
        RegionIndex.open(demo_index).search("dog")


def test_no_index_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="expected an index, found none at .*; make one: umgclip index DATASET --out"):
        RegionIndex.open(tmp_path / "none")


def test_a_missing_lancedb_says_what_to_install(demo_index, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(InputError, match=r'run: pip install "umgclip\[search\]"'):
        RegionIndex.open(demo_index)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """10,000 vectors around 100 centres, in a table without a vector index, and what is stored of them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((100, DIM))
    matrix = centres[rng.integers(0, 100, 10_000)] + 0.7 * rng.standard_normal((10_000, DIM))
    matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float16)
    common = {
        "kind": "region", "region_id": "0", "box_xyxy": [0.0, 0.0, 9.0, 9.0], "short_px": 9.0, "width": 9, "height": 9,
        "score": 1.0, "is_stuff": False, "label": None, "tags": [], "captions": [], "dataset": "d", "url": None,
        "file_name": None,
        "split": "train", "shard": "0.tar", "shard_id": "0", "sample": "",
    }  # fmt: skip
    rows = [
        {**common, "key": str(i), "position": i, "names": ["even" if i % 2 == 0 else "odd"], "vector": vector}
        for i, vector in enumerate(matrix)
    ]
    where = tmp_path_factory.mktemp("large") / "index"
    table = store.open_table(where, store.ROWS, row_schema(DIM))
    table.add(as_table(rows, table.schema))
    mark = ModelMark.of("none", "none", np.eye(4, DIM, dtype=np.float32))
    state = IndexState(dataset="none", parts={}, model=mark, table_version=table.version)
    write_state(where, state)
    return where, state, matrix.astype(np.float32), rng


def best_of(matrix, queries, top):
    cosines = queries @ (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).T
    cosines /= np.linalg.norm(queries, axis=1, keepdims=True)
    return cosines, np.argsort(-cosines, axis=1)[:, :top]


def test_ten_thousand_vectors_are_searched_exactly(large):
    where, _, matrix, rng = large
    index = RegionIndex.open(where)
    queries = rng.standard_normal((20, DIM)).astype(np.float32)
    cosines, best = best_of(matrix, queries, 50)
    for query, row, order in zip(queries, cosines, best, strict=True):
        hits = index.search(vector=query, top=50)
        assert np.allclose([hit.similarity for hit in hits], row[order], atol=1e-5)
        assert {int(hit.key) for hit in hits if hit.similarity > row[order[-1]] + 1e-5} <= set(order.tolist())


def test_a_vector_index_finds_nearly_all(large, tmp_path, monkeypatch):
    import shutil

    steps = []
    monkeypatch.setattr("umgclip.search.vector_index.begin", steps.append)
    where = tmp_path / "index"
    shutil.copytree(large[0], where)
    _, state, matrix, rng = large
    table = store.open_table(where, store.ROWS)
    assert tune(table, 0, exact_rows=10_000) == 0
    assert not has_vector_index(table)
    trained = tune(table, 0, exact_rows=1_000)
    assert trained == 10_000
    assert steps[-1] == "training the index of 10,000 vectors", "it may take minutes"
    assert has_vector_index(table)
    assert tune(table, trained, exact_rows=1_000) == trained
    write_state(where, state.model_copy(update={"table_version": table.version, "vectors_trained": trained}))
    index = RegionIndex.open(where)
    queries = matrix[rng.integers(0, 10_000, 20)] + 0.1 * rng.standard_normal((20, DIM)).astype(np.float32)
    cosines, best = best_of(matrix, queries, 10)
    recall = []
    for query, row, order in zip(queries, cosines, best, strict=True):
        hits = index.search(vector=query, top=10)
        recall.append(np.mean([hit.similarity >= row[order[-1]] - 1e-5 for hit in hits]))
        exact = index.search(vector=query, top=10, only=SearchFilter(exact=True))
        assert np.allclose([hit.similarity for hit in exact], row[order], atol=1e-5)
        even = index.search(vector=query, top=10, only=SearchFilter(label="even"))
        assert len(even) == 10
        assert all(int(hit.key) % 2 == 0 for hit in even)
    assert np.mean(recall) >= 0.95
