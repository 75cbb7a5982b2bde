"""Names of all labels of a dataset, which formats with numbered classes need before the first row."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.errors import DataError
from umgclip.io.manifest import Manifest
from umgclip.io.places import Place
from umgclip.io.shard_source import ShardAt
from umgclip.records import shows_one_object, stored_record
from umgclip.sources.formats.coco.umgclip_fields import label

_ROWS = 1 << 16


@dataclass(frozen=True)
class ExportedLabels:
    """Labels of regions and of single objects: those of the manifest first, then others sorted.

    Attributes:
        names: each once.
        has_singles: whether some images show one object.
    """

    names: tuple[str, ...]
    has_singles: bool


def label_names(dataset: Place, manifest: Manifest) -> ExportedLabels:
    """Collect the labels of a dataset: from its tables, or from its shards where it has none.

    Raises:
        DataError: a table or a shard is damaged.
    """
    if dataset.exists("regions.parquet") and dataset.exists("images.parquet"):
        used = _column(dataset, "regions.parquet", "label")
        singles = any(name.endswith("/singles") for name in _column(dataset, "images.parquet", "dataset"))
    else:
        used, singles = _of_shards(dataset, manifest)
    classes = manifest.classes
    listed = [*classes.things, *classes.stuff] if classes is not None else []
    return ExportedLabels((*listed, *sorted(used.difference(listed))), singles)


def _column(dataset: Place, table: str, name: str) -> set[str]:
    values: set[str] = set()
    try:
        with dataset.seekable(table) as handle, pq.ParquetFile(handle, pre_buffer=False) as file:
            for batch in file.iter_batches(_ROWS, columns=[name]):
                values.update(value for value in batch.column(0).unique().to_pylist() if value)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{dataset}/{table}: not a readable table: {error}") from error
    return values


def _of_shards(dataset: Place, manifest: Manifest) -> tuple[set[str], bool]:
    used: set[str] = set()
    singles = False
    for info in manifest.shards:
        for raw in ShardAt(dataset, info).samples():
            record = stored_record(raw.json, key=raw.key, where=f"{info.path}:{raw.key}")
            used.update(name for region in record.regions or [] if (name := label(region)))
            singles = singles or shows_one_object(record)
    return used, singles
