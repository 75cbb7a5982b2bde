"""The perceptual hashes of a dataset: one small parquet a shard, so that what is done is never done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt64

from umgclip.errors import DataError, UmgclipError
from umgclip.io.images import decode_image
from umgclip.io.places import Place
from umgclip.io.processes import worker_pool
from umgclip.io.tables import write_table
from umgclip.manifest import Manifest, ShardInfo
from umgclip.params import threads
from umgclip.sources.near_duplicates.perceptual_hash import SIDE_PX, perceptual_hash
from umgclip.sources.rewriting import Stored

_VERSION = "phash-1"  # of the hash, in the names of the files
_AHEAD = 4  # shards that wait, per worker
# `problem` says why an image has no hash
_SCHEMA = pa.schema([("key", pa.string()), ("shard", pa.string()), ("phash", pa.uint64()), ("problem", pa.string())])


class DatasetHashes:
    """The files with a dataset's hashes, in the order of its shards."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def codes(self) -> UInt64[np.ndarray, "n"]:
        """The hashes of all images that could be read."""
        parts = [pq.read_table(path, columns=["phash"])["phash"].drop_null().to_numpy() for path in self._paths]
        return np.concatenate([np.zeros(0, np.uint64), *parts])

    def rows(self) -> Iterator[pa.Table]:
        """Key, shard and hash of the images that have one, a shard at a time, in the order of `codes`."""
        for path in self._paths:
            table = pq.read_table(path)
            yield table.filter(table["phash"].is_valid()).drop_columns("problem")

    def problems(self) -> Iterator[dict[str, Any]]:
        """Key, shard and problem of those that have none."""
        for path in self._paths:
            table = pq.read_table(path, columns=["key", "shard", "problem"])
            yield from table.filter(table["problem"].is_valid()).to_pylist()


def hash_dataset(
    place: Place, manifest: Manifest, folder: Path, workers: int = 0, advance: Callable[[int], None] = lambda _: None
) -> DatasetHashes:
    """Hash every image of a dataset, local or in S3. A run that was stopped goes on behind the last finished shard.

    Args:
        place: where the shards lie.
        manifest: the dataset's.
        folder: for the hashes of each shard, by its SHA-256; what is there is not done again.
        workers: processes; 0: one per core; of no effect on the result.
        advance: called with the number of images done since the last call.

    Raises:
        DataError: a shard is missing or damaged. A single image that cannot be read is noted as a problem.
        StorageError, OutputError: a place does not answer or cannot be written.
        UmgclipError: a worker process died.
    """
    paths = [folder / f"{_VERSION}-{shard.sha256[:32]}.parquet" for shard in manifest.shards]
    todo = []
    for shard, path in zip(manifest.shards, paths, strict=True):
        if path.is_file():
            advance(shard.samples)
        else:
            todo.append((place, shard, path))
    workers = min(workers or threads(), len(todo))
    if workers <= 1:
        for job in todo:
            advance(_hash_shard(*job))
        return DatasetHashes(paths)
    with worker_pool(workers, _start_worker) as pool:
        try:
            jobs = iter(todo)
            pending: set[Future[int]] = {pool.submit(_hash_shard, *job) for job in islice(jobs, workers * _AHEAD)}
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    advance(future.result())
                pending |= {pool.submit(_hash_shard, *job) for job in islice(jobs, len(done))}
        except BrokenProcessPool as error:
            raise UmgclipError("duplicates: a worker process died (out of memory?); run again to go on") from error
    return DatasetHashes(paths)


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)


def _hash_shard(place: Place, shard: ShardInfo, path: Path) -> int:
    rows = []
    for raw in Stored(place, shard).samples():
        row: dict[str, Any] = {"key": raw.key, "shard": shard.path}
        try:
            row["phash"] = perceptual_hash(decode_image(raw.image, where=shard.path, at_least_px=2 * SIDE_PX))
        except DataError as error:
            row["problem"] = str(error)
        rows.append(row)
    if len(rows) != shard.samples:
        raise DataError(f"{place}/{shard.path}: expected {shard.samples} samples as in the manifest, got {len(rows)}")
    write_table(path, rows, _SCHEMA)
    return len(rows)
