"""Perceptual hashes of a dataset in one small parquet file per shard, so that no shard is hashed twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt64

from umgclip.errors import DataError
from umgclip.io.images import decode_image
from umgclip.io.manifest import Manifest, ShardInfo
from umgclip.io.places import Place
from umgclip.io.shard_source import ShardAt
from umgclip.io.survivors import Deaths, run_parts
from umgclip.io.tables import write_table
from umgclip.params import threads
from umgclip.safe_text import line_of
from umgclip.sources.near_duplicates.perceptual_hash import SIDE_PX, perceptual_hash

_VERSION = "phash-1"  # version of the hash, part of the file names
_HINT = "duplicates: workers die repeatedly; if memory runs out, run again with a smaller --workers"
# `problem` states why an image has no hash
_SCHEMA = pa.schema([("key", pa.string()), ("shard", pa.string()), ("phash", pa.uint64()), ("problem", pa.string())])


@dataclass(frozen=True)
class _Shard:
    """A shard without hashes, and the path of the file for them."""

    dataset: Place
    info: ShardInfo
    path: Path

    def __str__(self) -> str:
        return f"{self.dataset}/{self.info.path}"


class DatasetHashes:
    """The files with a dataset's hashes, in the order of its shards."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def codes(self) -> UInt64[np.ndarray, "n"]:
        """Return the hashes of all readable images."""
        parts = [pq.read_table(path, columns=["phash"])["phash"].drop_null().to_numpy() for path in self._paths]
        return np.concatenate([np.zeros(0, np.uint64), *parts])

    def rows(self) -> Iterator[pa.Table]:
        """Yield key, shard and hash of the readable images, a shard at a time, in the order of `codes`."""
        for path in self._paths:
            table = pq.read_table(path)
            yield table.filter(table["phash"].is_valid()).drop_columns("problem")

    def problems(self) -> Iterator[dict[str, Any]]:
        """Yield key, shard and problem of the images without hash."""
        for path in self._paths:
            table = pq.read_table(path, columns=["key", "shard", "problem"])
            yield from table.filter(table["problem"].is_valid()).to_pylist()


def hash_dataset(
    dataset: Place, manifest: Manifest, folder: Path, workers: int = 0, advance: Callable[[int], None] = lambda _: None
) -> DatasetHashes:
    """Hash every image of a dataset, local or in S3; an interrupted run resumes behind its last shard.

    Args:
        dataset: the folder or S3 prefix that holds the shards.
        manifest: the dataset's.
        folder: folder for the hashes of each shard, named by its SHA-256; existing files are reused.
        workers: processes; 0: one per core; 1: this process itself; of no effect on the result.
        advance: called with the number of images done since the last call.

    Raises:
        DataError: a shard is missing or damaged. A single image that cannot be read is noted as a problem.
        StorageError, OutputError: a place does not answer or cannot be written.
        UmgclipError: worker processes die over and over.
    """
    paths = [folder / f"{_VERSION}-{shard.sha256[:32]}.parquet" for shard in manifest.shards]
    todo = []
    for shard, path in zip(manifest.shards, paths, strict=True):
        if path.is_file():
            advance(shard.samples)
        else:
            todo.append(_Shard(dataset, shard, path))
    if workers == 1:
        for shard_left in todo:
            hash_shard(shard_left, advance, Deaths())
    else:
        run_parts(hash_shard, todo, min(workers or threads(), len(todo)), advance, _HINT)
    return DatasetHashes(paths)


def hash_shard(todo: _Shard, advance: Callable[[int], None], deaths: Deaths) -> None:
    """Hash a shard's images; one that cannot be hashed, or over which a process died, gets a problem instead."""
    cv2.setNumThreads(1)
    shard, left_out = todo.info, deaths.left_out()
    rows: list[dict[str, Any]] = []
    for raw in ShardAt(todo.dataset, shard).samples():
        row: dict[str, Any] = {"key": raw.key, "shard": shard.path}
        try:
            if len(rows) in left_out:
                raise DataError(left_out[len(rows)])
            row["phash"] = perceptual_hash(decode_image(raw.image, where=shard.path, at_least_px=2 * SIDE_PX))
        except DataError as error:
            row["problem"] = str(error)
        except Exception as error:  # noqa: BLE001 - any error that one image may cause
            row["problem"] = line_of(error)
        rows.append(row)
        advance(1)
    if len(rows) != shard.samples:
        raise DataError(f"{todo}: expected {shard.samples} samples as in the manifest, got {len(rows)}")
    write_table(todo.path, rows, _SCHEMA)
