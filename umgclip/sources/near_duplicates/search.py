"""Near duplicates of a dataset, within itself or in another one, as a table of groups and as quarantine rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int64, UInt8

from umgclip.errors import InputError
from umgclip.io.atomic import atomic_file, write_json
from umgclip.io.manifest import MANIFEST, Manifest
from umgclip.io.places import Place
from umgclip.io.tables import QUARANTINE, TableWriter
from umgclip.sources.near_duplicates.dataset_hashes import DatasetHashes, hash_dataset
from umgclip.sources.near_duplicates.grouping import around_first, to_others
from umgclip.sources.near_duplicates.multi_index import BITS

DISTANCE_MAX = 6  # bits; among a million unrelated images about two pairs are this near by chance
HASHES, TABLE, QUARANTINED, REPORT = "hashes", "duplicates.parquet", "quarantine.parquet", "duplicates.json"
_BATCH = 10_000
_COLUMNS = ("group", "is_kept", "distance", "dataset", "key", "shard", "phash")


@dataclass(frozen=True)
class Dataset:
    """A dataset and its name in the table."""

    name: str
    source: Place
    manifest: Manifest


@dataclass(frozen=True)
class Search:
    """Settings of a search: bits that two hashes may differ in, processes (0: one per core), quarantine or not."""

    distance_max: int = DISTANCE_MAX
    workers: int = 0
    write_quarantine: bool = False


def find_duplicates(
    dataset: Dataset,
    against: Dataset | None,
    search: Search,
    out: Path,
    advance: Callable[[int], None],
    looked_up: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Find groups of images that look the same, and keep one image of each.

    Without `against`, the first image of a group is kept, and the others are within the distance of it. With `against`,
    its image is kept, and the others are the images of the dataset that have no nearer one there.

    Memory: about 60 bytes an image, 100 MB for the index, and the rows of the images that are in groups.

    Args:
        dataset: the dataset to search.
        against: another dataset, such as a benchmark.
        search: settings of the search.
        out: folder for `duplicates.parquet`, `duplicates.json`, with `write_quarantine` for `quarantine.parquet`, and
            for `hashes`, which a later run reuses.
        advance: called with the number of images hashed since the last call.
        looked_up: called with the number of hashes compared since the last call.

    Returns:
        What `duplicates.json` holds.

    Raises:
        InputError: `out` is a dataset, or holds files of these names that no search wrote.
        DataError, StorageError, OutputError, UmgclipError: as `hash_dataset`.
    """
    require_own(out, search)
    hashes = hash_dataset(dataset.source, dataset.manifest, out / HASHES, search.workers, advance)
    codes = hashes.codes()
    if against is None:
        nearest = around_first(codes, search.distance_max, looked_up)
        group = np.where(np.bincount(nearest.row, minlength=len(codes))[nearest.row] > 1, nearest.row, -1)
        is_kept = nearest.row == np.arange(len(codes))
        parts = [_picked(dataset.name, hashes, group, nearest.distance, is_kept)]
    else:
        others = hash_dataset(against.source, against.manifest, out / HASHES, search.workers, advance)
        theirs = others.codes()
        nearest = to_others(codes, theirs, search.distance_max, looked_up)
        group, same = np.full(len(theirs), -1), np.zeros(len(theirs), np.uint8)
        hit = nearest.row[nearest.row >= 0]
        group[hit] = hit
        parts = [
            _picked(against.name, others, group, same, same == 0),
            _picked(dataset.name, hashes, nearest.row, nearest.distance, np.zeros(len(codes), bool)),
        ]
    table = _in_groups(pa.concat_tables(parts))
    with atomic_file(out / TABLE) as temporary:
        pq.write_table(table, temporary)
    if search.write_quarantine:
        _write_quarantine(out / QUARANTINED, table, hashes, "near_duplicate" if against is None else "leakage")
    report = _report(table, search, len(codes), sum(1 for _ in hashes.problems()))
    write_json(out / REPORT, report)
    return report


def require_own(out: Path, search: Search) -> None:
    """Refuse a folder in which a search would overwrite files of something else, such as an import's quarantine.

    Raises:
        InputError: the folder holds other files; the message names one.
    """
    written = (TABLE, REPORT, QUARANTINED) if search.write_quarantine else (TABLE, REPORT)
    there = [MANIFEST] if (out / MANIFEST).exists() else [name for name in written if (out / name).exists()]
    if there and (there == [MANIFEST] or not (out / HASHES).is_dir()):
        raise InputError(f"--out: expected a new folder, or one of an earlier search, found {there[0]} in {out}")


def _picked(
    name: str,
    hashes: DatasetHashes,
    group: Int64[np.ndarray, "n"],
    distance: UInt8[np.ndarray, "n"],
    is_kept: Bool[np.ndarray, "n"],
) -> pa.Table:
    """Return the rows that have a group; -1 means none."""
    picked, start = [], 0
    for rows in hashes.rows():
        span = slice(start, start + len(rows))
        start = span.stop
        wanted = np.flatnonzero(group[span] >= 0)
        columns = {
            **{column: rows[column].take(pa.array(wanted)) for column in ("key", "shard", "phash")},
            "dataset": pa.array([name] * len(wanted), pa.string()),
            "group": pa.array(group[span][wanted]),
            "distance": pa.array(distance[span][wanted]),
            "is_kept": pa.array(is_kept[span][wanted]),
        }
        picked.append(pa.table(columns).select(_COLUMNS))
    return pa.concat_tables(picked)


def _in_groups(table: pa.Table) -> pa.Table:
    """Sort rows by group, the kept image first; number the groups from 0."""
    order = np.lexsort((np.arange(len(table)), ~table["is_kept"].to_numpy(), table["group"].to_numpy()))
    table = table.take(pa.array(order))
    _, number = np.unique(table["group"].to_numpy(), return_inverse=True)
    return table.set_column(0, "group", pa.array(number.astype(np.int64)))


def _write_quarantine(path: Path, table: pa.Table, hashes: DatasetHashes, reason: str) -> None:
    """Write a row for every image that is not kept, and for every image that could not be read."""
    with atomic_file(path) as temporary:
        writer, kept_image = TableWriter(temporary, QUARANTINE), ""
        for batch in table.to_batches(_BATCH):
            for row in batch.to_pylist():
                if row["is_kept"]:
                    kept_image = f"{row['key']} of {row['dataset']}"
                else:
                    writer.add([_refused(row, reason, f"{row['distance']} of {BITS} bits from {kept_image}")])
        for row in hashes.problems():
            writer.add([_refused(row, "unreadable", row["problem"])])
        writer.close()


def _refused(row: Mapping[str, Any], reason: str, detail: str) -> dict[str, Any]:
    about = {"key": row["key"], "shard": row["shard"], "region_id": None}
    return {**about, "stage": "duplicates", "reason": reason, "detail": detail}


def _report(table: pa.Table, search: Search, images: int, unreadable: int) -> dict[str, Any]:
    others = table.filter(pc.invert(table["is_kept"]))
    sizes = np.bincount(table["group"].to_numpy(), minlength=1)
    return {
        "images": images,
        "unreadable": unreadable,
        "distance_max": search.distance_max,
        "groups": int((sizes > 0).sum()),
        "largest_group": int(sizes.max()),
        "duplicates": len(others),
        "duplicates_by_distance": {
            str(bits): int(count) for bits, count in enumerate(np.bincount(others["distance"].to_numpy())) if count
        },
    }
