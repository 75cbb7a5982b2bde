"""Making of an index: what is new or changed is embedded, what is gone is deleted, and a killed run continues.

No list of finished work is kept beside the rows: a shard is finished when the table holds an image row, or a failure,
for each of its samples. Rows are written in groups of whole samples, so a killed run repeats one group at most.
Searches read the version of the table that `index.json` names, which moves only when all of the dataset is in.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from umgclip.errors import DataError, InputError
from umgclip.inference.arguments import batches
from umgclip.inference.model import Model
from umgclip.io.atomic import atomic_file
from umgclip.io.manifest import Manifest, ShardInfo
from umgclip.io.places import Folder, Place, place_at, placed
from umgclip.io.shard_source import read_shard_at, shard_at
from umgclip.search import store
from umgclip.search.embedding import SearchSample, ahead, embed, prepare
from umgclip.search.probes import mark, probe
from umgclip.search.rows import COLUMNS, Row, SampleAt, ShardId, as_table, failed_schema, row_schema
from umgclip.search.state import STATE, IndexCounts, IndexState, read_state, require_same_model, write_state
from umgclip.search.store import FAILED, ROWS, VECTOR
from umgclip.search.vector_index import tune
from umgclip.stage import Summary

QUARANTINE = "quarantine.parquet"
_GROUP_ROWS, _GROUP_S = 16_384, 120.0  # rows in memory, and seconds that a killed run may repeat
_LOOK_UP = 128  # samples whose rows of earlier runs are looked up together
_THREADS = 8


@dataclass(frozen=True)
class DatasetParts:
    """The dataset to index: its path or URL, and each part with its place and manifest, by name."""

    where: str
    parts: Mapping[str, tuple[Place, Manifest]]

    @property
    def samples(self) -> int:
        """The number of samples in all parts."""
        return sum(manifest.samples for _, manifest in self.parts.values())


@dataclass
class _Work:
    """Counts of a run: samples embedded, taken over from earlier rows, and in shards that were finished before."""

    embedded: int = 0
    moved: int = 0
    known: int = 0


def build_index(
    dataset: DatasetParts, model: Model, source: str, out: str | Path, advance: Callable[[int], None]
) -> Summary:
    """Make an index of a dataset, or bring one up to date. The caller keeps other writers away.

    Args:
        dataset: the dataset and its parts.
        model: embeds images and regions.
        source: what named the model, as the user wrote it.
        out: folder or `s3://` prefix of the index.
        advance: called with numbers of samples that are done.

    Raises:
        InputError: the index at `out` is of another dataset or model; or something else is there.
        DataError: a shard or the index is damaged, or no image can be embedded.
        OutputError, StorageError: `out` cannot be written.
    """
    state = _begin(dataset, model, source, out)
    builder = _Builder(out, model, advance)
    for split, (place, manifest) in dataset.parts.items():
        for info in manifest.shards:
            builder.add_shard(split, place, info)
    builder.finish({ShardId.of(s, info).id for s, (_, m) in dataset.parts.items() for info in m.shards})
    counts = builder.counts()
    if not counts.images:
        raise DataError(f"{dataset.where}: expected images that can be embedded, found none: {builder.first_problem()}")
    trained = tune(builder.rows, state.vectors_trained)
    update = {"table_version": builder.rows.version, "counts": counts, "vectors_trained": trained}
    write_state(out, state.model_copy(update=update))
    builder.clean()
    _write_quarantine(out, builder.failed, counts)
    return _summary(out, counts, builder.work, trained, dataset)


def _begin(dataset: DatasetParts, model: Model, source: str, out: str | Path) -> IndexState:
    """Write the state of a new index, or check that the one that is there fits."""
    state = read_state(out)
    parts = {name: str(place) for name, (place, _) in dataset.parts.items()}
    if state is None:
        place = place_at(out)
        if isinstance(place, Folder) and place.path.exists() and (not place.path.is_dir() or any(place.path.iterdir())):
            raise InputError(f"--out: expected a new or empty folder, or an index, found no {STATE} in {out}")
        state = IndexState(dataset=dataset.where, parts=parts, model=mark(model, source))
        write_state(out, state)
        return state
    if state.dataset != dataset.where:
        raise InputError(
            f"--out: {out} is the index of {state.dataset}, got {dataset.where}; give each dataset an index of its own "
            "with --out"
        )
    require_same_model(out, state.model, probe(model), f"{source} ({model!r})")
    return state.model_copy(update={"parts": parts})


@dataclass
class _Buffer:
    """Rows and failures of whole samples that are not written yet."""

    rows: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    @property
    def is_full(self) -> bool:
        return len(self.rows) + len(self.failed) >= _GROUP_ROWS or time.monotonic() - self.since > _GROUP_S


class _Builder:
    def __init__(self, out: str | Path, model: Model, advance: Callable[[int], None]) -> None:
        self._model, self._advance = model, advance
        self._schemas = row_schema(model.embed_dim), failed_schema()
        self.rows = store.open_table(out, ROWS, self._schemas[0])
        self.failed = store.open_table(out, FAILED, self._schemas[1])
        self._out, self._buffer, self.work = out, _Buffer(), _Work()
        with store.explained(out):
            self._had_rows = self.rows.count_rows() > 0
            done = Counter(row["shard_id"] for row in store.scan(self.rows, ["shard_id"], "kind = 'image'"))
            failed = store.scan(self.failed, ["shard_id"], "region_id IS NULL")
            self._done = done + Counter(row["shard_id"] for row in failed)
        self._pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))

    def add_shard(self, split: str, place: Place, info: ShardInfo) -> None:
        """Embed the samples of a shard that have no rows yet.

        Raises:
            DataError: the shard is damaged; what was written of it is deleted.
        """
        shard = ShardId.of(split, info)
        if self._done[shard.id] >= info.samples:
            self.work.known += info.samples
            self._advance(info.samples)
            return
        positions = self._positions(shard) if self._done[shard.id] else set()
        self.work.known += len(positions)
        self._advance(len(positions))
        where = shard_at(place, info.path)
        samples = (
            SampleAt.of(raw, position)
            for position, raw in enumerate(read_shard_at(where, info.sha256))
            if position not in positions
        )
        try:
            for part in batches(samples, _LOOK_UP):
                self._add(part, shard, where)
        except DataError:
            self._forget(shard.id)
            raise

    def finish(self, current: set[str]) -> None:
        """Write what waits, then delete rows of shards that the dataset no longer has."""
        self._flush()
        self._pool.shutdown()
        with store.explained(self._out):
            for table in (self.rows, self.failed):
                gone = {row["shard_id"] for row in store.scan(table, ["shard_id"])} - current
                for condition in store.conditions("shard_id", gone):
                    table.delete(condition)
                store.compact(table)

    def counts(self) -> IndexCounts:
        """Count what the tables hold."""
        with store.explained(self._out):
            return IndexCounts(
                images=self.rows.count_rows("kind = 'image'"),
                regions=self.rows.count_rows("kind = 'region'"),
                failed_images=self.failed.count_rows("region_id IS NULL"),
                failed_regions=self.failed.count_rows("region_id IS NOT NULL"),
            )

    def first_problem(self) -> str:
        """Return the detail of one failure."""
        return next((str(row["detail"]) for row in store.scan(self.failed, ["detail"])), "there are no samples")

    def clean(self) -> None:
        """Delete files of old versions."""
        with store.explained(self._out):
            store.clean(self.rows)
            store.clean(self.failed)

    def _add(self, samples: list[SampleAt], shard: ShardId, where: str) -> None:
        """Take over rows of earlier runs by the digest of a sample, and embed the others."""
        earlier = self._earlier(samples) if self._had_rows else {}
        fresh = []
        for sample in samples:
            if sample.digest in earlier:
                rows, failed = earlier[sample.digest]
                place = shard.place(sample.position, sample.digest)
                self._put([{**row, **place} for row in rows], [{**row, **place} for row in failed], 1)
                self.work.moved += 1
            else:
                fresh.append(sample)
        for prepared in ahead(fresh, partial(prepare, where=where), self._pool):
            failed = [row for one in prepared for row in _failures(one, shard)]
            self._put(embed(self._model, prepared, shard), failed, len(prepared))
            self.work.embedded += len(prepared)

    def _put(self, rows: Iterable[Row], failed: Iterable[Row], samples: int) -> None:
        self._buffer.rows.extend(rows)
        self._buffer.failed.extend(failed)
        self._advance(samples)
        if self._buffer.is_full:
            self._flush()

    def _flush(self) -> None:
        """Write failures, then rows: a sample with rows has its failures written."""
        with store.explained(self._out):
            if self._buffer.failed:
                self.failed.add(as_table(self._buffer.failed, self._schemas[1]))
            if self._buffer.rows:
                self.rows.add(as_table(self._buffer.rows, self._schemas[0]))
        self._buffer = _Buffer()

    def _positions(self, shard: ShardId) -> set[int]:
        """Return positions of a shard that are finished; failures of regions whose sample is not are deleted."""
        of_shard = f"shard_id = {store.quoted(shard.id)}"
        with store.explained(self._out):
            images = store.scan(self.rows, ["position"], f"{of_shard} AND kind = 'image'")
            done = {row["position"] for row in images}
            failed = list(store.scan(self.failed, ["position", "region_id"], of_shard))
            done |= {row["position"] for row in failed if row["region_id"] is None}
            if repeated := {row["position"] for row in failed} - done:
                listed = ", ".join(map(str, sorted(repeated)))
                self.failed.delete(f"{of_shard} AND position IN ({listed})")
        return done

    def _earlier(self, samples: list[SampleAt]) -> dict[str, tuple[list[Row], list[Row]]]:
        """Return rows and failures of samples that earlier runs embedded at another place."""
        digests = {sample.digest for sample in samples}
        rows: dict[str, list[Row]] = {}
        failed: dict[str, list[Row]] = {}
        with store.explained(self._out):
            for condition in store.conditions("sample", digests):
                _group(store.scan(self.rows, (*COLUMNS, VECTOR), condition), rows)
                _group(store.scan(self.failed, self._schemas[1].names, condition), failed)
        return {digest: (rows[digest], failed.get(digest, [])) for digest in rows}

    def _forget(self, shard_id: str) -> None:
        """Delete what was read of a damaged shard, and write what waits of others."""
        for waiting in (self._buffer.rows, self._buffer.failed):
            waiting[:] = [row for row in waiting if row["shard_id"] != shard_id]
        self._flush()
        with store.explained(self._out):
            for table in (self.rows, self.failed):
                table.delete(f"shard_id = {store.quoted(shard_id)}")


def _group(rows: Iterable[Row], into: dict[str, list[Row]]) -> None:
    """Sort rows by sample; a sample that is there twice counts once."""
    places: dict[str, tuple[str, int]] = {}
    for row in rows:
        if places.setdefault(row["sample"], (row["shard_id"], row["position"])) == (row["shard_id"], row["position"]):
            if VECTOR in row:
                row = {**row, VECTOR: np.asarray(row[VECTOR], np.float16)}
            into.setdefault(row["sample"], []).append(row)


def _failures(prepared: SearchSample, shard: ShardId) -> list[Row]:
    place = shard.place(prepared.sample.position, prepared.sample.digest)
    return [
        {"key": prepared.sample.raw.key, "region_id": region, "reason": reason, "detail": detail, **place}
        for region, reason, detail in prepared.problems
    ]


def _write_quarantine(out: str | Path, failed: Any, counts: IndexCounts) -> None:  # noqa: ANN401 - a LanceDB table
    """Write failures beside the index, as the other stages do; without any there is no file."""
    from umgclip.io.tables import QUARANTINE as SCHEMA
    from umgclip.io.tables import TableWriter

    place = place_at(out)
    if not counts.failed_images + counts.failed_regions:
        place.delete(QUARANTINE)
        return
    with placed(place, QUARANTINE) as path, atomic_file(path) as temporary:
        writer = TableWriter(temporary, SCHEMA)
        for row in store.scan(failed, ("key", "shard", "region_id", "reason", "detail")):
            writer.add([{**row, "stage": "index"}])
        writer.close()


def _summary(out: str | Path, counts: IndexCounts, work: _Work, trained: int, dataset: DatasetParts) -> Summary:
    rows = [
        ("dataset", dataset.where),
        ("images", f"{counts.images:,}"),
        ("regions", f"{counts.regions:,}"),
        ("embedded now", f"{work.embedded:,} images; {work.moved:,} moved, {work.known:,} as before"),
        ("vector index", "yes" if trained else "none: all vectors are compared, which is exact"),
    ]
    if counts.failed_images or counts.failed_regions:
        text = f"{counts.failed_images:,} images, {counts.failed_regions:,} regions; see {out}/{QUARANTINE}"
        rows.append(("could not be embedded", text))
    return Summary(f"index: {out}", tuple(rows))
