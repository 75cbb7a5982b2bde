"""Region search: the vector indices of LanceDB against comparing all vectors with numpy, in one run.

    python benchmarks/search.py                                # a million vectors, all kinds of index
    python benchmarks/search.py --rows 50000 --kinds IvfPq     # smaller
    python benchmarks/search.py --work work --kinds IvfRq      # keeps vectors, truth and the last index in a folder
    python benchmarks/search.py --index artifacts/index        # exactness on the vectors of an index

Vectors are drawn like those of a CLIP: 4,000 concepts in 100 topics, all in a cone, with noise of few dimensions about
each, and some concepts much more frequent than others. Half of the queries are regions that are not in the table, half
are texts, which lie beside the regions of their concept. The truth is numpy's order of the stored float16 vectors.

Each kind of index is built and read in a process of its own, whose peak memory is measured. Numpy's own searches are
timed in every run, so that times have a peer.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from umgclip.search import store
from umgclip.search.filters import SearchFilter
from umgclip.search.region_index import RegionIndex
from umgclip.search.rows import row_schema
from umgclip.search.store import ROWS, VECTOR
from umgclip.search.vector_index import PROBES, REFINE

TOP, SPARE, BLOCK = 10, 16, 20_000
CONCEPTS, TOPICS, NOISE_DIMS = 4_000, 100, 64


class Concepts:
    """A mixture of unit vectors that resembles the embeddings of a CLIP."""

    def __init__(self, dim: int, rng: np.random.Generator) -> None:
        self._rng, self._dim = rng, dim
        cone = _unit(rng.standard_normal(dim))
        topics = _unit(rng.standard_normal((TOPICS, dim)))
        self._centres = _unit(
            0.8 * cone + 0.7 * topics[rng.integers(0, TOPICS, CONCEPTS)] + 0.7 * self._noise(CONCEPTS)
        )
        self._spread = rng.standard_normal((8, NOISE_DIMS, dim)) / np.sqrt(NOISE_DIMS * dim)
        weights = 1.0 / np.arange(1, CONCEPTS + 1) ** 0.7
        self._weights = weights / weights.sum()
        self._gap = 0.5 * _unit(rng.standard_normal(dim))

    def regions(self, count: int) -> np.ndarray:
        """Draw so many regions, as float32 rows."""
        concept = self._rng.choice(CONCEPTS, count, p=self._weights)
        kind = concept % len(self._spread)
        local = np.empty((count, self._dim), np.float32)
        for each in range(len(self._spread)):
            chosen = np.flatnonzero(kind == each)
            local[chosen] = self._rng.standard_normal((len(chosen), NOISE_DIMS)) @ self._spread[each]
        return _unit(self._centres[concept] + 0.8 * local + 0.15 * self._noise(count))

    def texts(self, count: int) -> np.ndarray:
        """Draw so many texts: near a concept, moved by the gap between texts and images."""
        concept = self._rng.choice(CONCEPTS, count, p=self._weights)
        return _unit(self._centres[concept] + self._gap + 0.3 * self._noise(count))

    def _noise(self, count: int) -> np.ndarray:
        return (self._rng.standard_normal((count, self._dim)) / np.sqrt(self._dim)).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def write_rows(folder: Path, vectors: Any, dim: int) -> None:  # noqa: ANN401 - blocks of float32 rows
    """Write blocks of vectors as a table with the columns of a real index."""
    import pyarrow as pa

    schema = row_schema(dim)
    table = store.open_table(folder, ROWS, schema)
    start = 0
    for block in vectors:
        count = len(block)
        numbers = np.arange(start, start + count)
        names = [["dog", "red mug"][number % 2] for number in numbers]
        values = {
            "kind": ["region"] * count, "key": [f"{number // 20:012d}" for number in numbers],
            "region_id": [str(number % 20) for number in numbers], "box_xyxy": [[0.0, 0.0, 64.0, 64.0]] * count,
            "short_px": [64.0] * count, "width": [640] * count, "height": [480] * count, "score": [0.5] * count,
            "is_stuff": [False] * count, "label": names, "tags": [[name] for name in names],
            "names": [[name] for name in names], "captions": [[]] * count, "dataset": ["generated"] * count,
            "url": [None] * count, "file_name": [None] * count,
            "split": ["train"] * count, "shard": [f"{n // 20_000:06d}.tar" for n in numbers],
            "shard_id": [f"{n // 20_000:016x}" for n in numbers], "position": (numbers // 20 % 1000).tolist(),
            "sample": [f"{number // 20:032x}" for number in numbers],
        }  # fmt: skip
        columns = [pa.array(values[f.name], f.type) for f in schema if f.name != VECTOR]
        flat = pa.array(block.astype(np.float16).reshape(-1))
        table.add(pa.Table.from_arrays([*columns, pa.FixedSizeListArray.from_arrays(flat, dim)], schema=schema))
        start += count
    store.compact(table)


def stored(folder: Path, dim: int) -> np.ndarray:
    """Read all vectors of a table, in the order of its rows, as float32."""
    batches = store.open_table(folder, ROWS).search().select([VECTOR]).to_batches()
    blocks = [batch.column(0).flatten().to_numpy(zero_copy_only=False).reshape(-1, dim) for batch in batches]
    return np.concatenate(blocks).astype(np.float32)


def by_numpy(rows: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return the best cosines of each query, the numbers of their rows, and the seconds of each query."""
    lengths = np.linalg.norm(rows, axis=1)
    best, order, seconds = [], [], []
    for query in queries:
        started = time.perf_counter()
        cosines = rows @ query / lengths
        top = np.argpartition(-cosines, TOP)[:TOP]
        top = top[np.argsort(-cosines[top])]
        seconds.append(time.perf_counter() - started)
        best.append(cosines[top])
        order.append(top)
    return np.array(best), np.array(order), seconds


def measure_kind(folder: Path, kind: str, probes: int, refine: int) -> dict[str, Any]:
    """Build one kind of index in this process, search with it, and return time, memory and recall."""
    truth = np.load(folder / "truth.npz")
    table = store.open_table(folder / "db", ROWS)
    rows, dim = table.count_rows(), truth["queries"].shape[1]
    about = {} if kind == "exact" else _index(table, folder, kind, rows, dim)
    results = {}
    for nprobes, factor in [(probes, refine)] if kind == "exact" else _settings(kind, probes, refine):
        hits, seconds = [], []
        for query in truth["queries"]:
            started = time.perf_counter()
            asked = table.search(query, vector_column_name=VECTOR).distance_type("cosine").limit(TOP + SPARE)
            asked = asked.where("kind = 'region'", prefilter=True)
            asked = asked.bypass_vector_index() if kind == "exact" else asked.nprobes(nprobes).refine_factor(factor)
            rows_near = asked.select(["key", "label", "box_xyxy", VECTOR, "_distance"]).to_arrow()
            hits.append(_in_order(rows_near, query))
            seconds.append(time.perf_counter() - started)
        results[f"probes {nprobes}, refine {factor}"] = {
            "recall_at_10": _recall(hits, truth["best"]),
            **_times(seconds),
        }
    return {"kind": kind, **about, "peak_mib": _peak_mib(), "searches": results}


def _index(table: Any, folder: Path, kind: str, rows: int, dim: int) -> dict[str, int]:  # noqa: ANN401 - LanceDB's
    """Build a vector index, unless the table has just this one; return what it took."""
    import lancedb.index as kinds

    path = folder / "index.json"
    if path.exists() and (there := json.loads(path.read_text()))["kind"] == kind:
        return there["took"]
    path.unlink(missing_ok=True)
    before, started = _size(folder), time.perf_counter()
    options: dict[str, Any] = {"distance_type": "cosine", "num_partitions": max(1, round(rows**0.5))}
    if kind == "IvfPq":
        options["num_sub_vectors"] = dim // 8
    if kind.startswith("IvfHnsw"):
        options["num_partitions"] = max(1, rows // 100_000)
    table.create_index(VECTOR, config=getattr(kinds, kind)(**options), replace=True)
    seconds, disk = round(time.perf_counter() - started), (_size(folder) - before) >> 20
    took = {"build_s": seconds, "build_mib": _peak_mib(), "disk_mib": disk}
    path.write_text(json.dumps({"kind": kind, "took": took}))
    return took


def _in_order(table: Any, query: np.ndarray) -> np.ndarray:  # noqa: ANN401 - pyarrow's
    """Return the cosines of rows with a query in float32, the largest first, as `RegionIndex` orders them."""
    column = table.column(VECTOR).combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), len(query)).astype(np.float32)
    return np.sort(-(vectors @ query / np.linalg.norm(vectors, axis=1))) * -1


def _settings(kind: str, probes: int, refine: int) -> list[tuple[int, int]]:
    if kind.startswith("IvfHnsw"):
        return [(3, 1), (5, 5), (10, 10)]
    return [(20, 10), (probes, refine), (2 * probes, 2 * refine)]


def _recall(found: list[np.ndarray], best: np.ndarray) -> float:
    """Return the share of results that are as near as the tenth of the truth; rows of one cosine are equal."""
    shares = [(one[:TOP] >= truth[-1] - 1e-5).sum() / TOP for one, truth in zip(found, best, strict=True)]
    return round(float(np.mean(shares)), 4)


def _times(seconds: list[float]) -> dict[str, float]:
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    return {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def prepare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write the table and find the truth with numpy, unless the folder has both; returns what they are."""
    settings = {"rows": arguments.rows, "dim": arguments.dim, "queries": arguments.queries, "seed": arguments.seed}
    about = folder / "about.json"
    if about.exists():
        there: dict[str, Any] = json.loads(about.read_text())
        if any(there[name] != value for name, value in settings.items()):
            raise SystemExit(f"{folder}: expected vectors of {settings}, got {there}")
        return there
    shutil.rmtree(folder / "db", ignore_errors=True)
    concepts = Concepts(arguments.dim, np.random.default_rng(arguments.seed))
    started = time.perf_counter()
    blocks = (concepts.regions(min(BLOCK, arguments.rows - at)) for at in range(0, arguments.rows, BLOCK))
    write_rows(folder / "db", blocks, arguments.dim)
    written_s = time.perf_counter() - started
    half = arguments.queries // 2
    queries = np.concatenate([concepts.regions(half), concepts.texts(arguments.queries - half)])
    best, _, _ = by_numpy(stored(folder / "db", arguments.dim), queries)
    np.savez(folder / "truth.npz", queries=queries, best=best)
    there = {**settings, "write_s": round(written_s), "table_mib": _size(folder / "db") >> 20}
    about.write_text(json.dumps(there))
    return there


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure each kind in a process of its own, and numpy beside them."""
    about = prepare(arguments, folder)
    rows = stored(folder / "db", arguments.dim)
    _, _, seconds = by_numpy(rows, np.load(folder / "truth.npz")["queries"][::4])
    result = {**about, "load": os.getloadavg()[0], "numpy": {**_times(seconds), "vectors_mib": rows.nbytes >> 20}}
    del rows
    for kind in arguments.kinds:
        command = [sys.executable, __file__, "--one", kind, "--folder", str(folder)]
        command += ["--probes", str(arguments.probes), "--refine", str(arguments.refine)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this script
        result[kind] = json.loads(done.stdout) if done.returncode == 0 else {"failed": done.stderr[-500:]}
        for search in result[kind].get("searches", {}).values():
            search["times_faster_than_numpy"] = round(result["numpy"]["p50_ms"] / search["p50_ms"], 1)
        print(json.dumps({kind: result[kind]}), file=sys.stderr, flush=True)
    return result


def measure_index(where: str, queries: int) -> dict[str, Any]:
    """Compare the searches of an index with numpy on its own vectors."""
    index = RegionIndex.open(where)
    rows = stored(Path(where), index.state.model.embed_dim)
    rng = np.random.default_rng(0)
    asked = _unit(rows[rng.integers(0, len(rows), queries)] + 0.02 * rng.standard_normal((queries, rows.shape[1])))
    best, _, by_numpy_s = by_numpy(rows, asked)
    hits, seconds = [], []
    for query in asked:
        started = time.perf_counter()
        found_hits = index.search(vector=query, top=TOP, only=SearchFilter(what="both"))
        seconds.append(time.perf_counter() - started)
        hits.append(np.array([hit.similarity for hit in found_hits]))
    return {"rows": len(rows), "recall_at_10": _recall(hits, best), "numpy": _times(by_numpy_s), **_times(seconds)}


def main() -> None:
    """Run what the arguments ask for, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", default=["exact", "IvfPq", "IvfRq", "IvfHnswSq"])
    parser.add_argument("--probes", type=int, default=PROBES)
    parser.add_argument("--refine", type=int, default=REFINE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--index", help="measure the vectors of this index instead")
    parser.add_argument(
        "--work", type=Path, help="folder that keeps vectors, truth, last index; default: a temporary one"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure_kind(arguments.folder, arguments.one, arguments.probes, arguments.refine)))
    elif arguments.index:
        print(json.dumps(measure_index(arguments.index, arguments.queries)))
    elif arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(arguments, arguments.work)))
    else:
        with tempfile.TemporaryDirectory(prefix="umgclip-search-") as folder:
            print(json.dumps(measure(arguments, Path(folder))))


if __name__ == "__main__":
    main()
