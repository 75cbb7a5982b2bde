"""Flat parquet tables derived from records. The shards stay the truth; a table is for checks and queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import atomic_file
from umgclip.records import ImageRecord, Region, Text

_GROUP = 2000  # rows in memory while a table is written
_JOINED = 20_000  # the same while tables are joined; a file's index keeps 20 kB for each group of rows
_BATCH = 100_000  # rows in memory while some columns are read
_S, _I, _F, _B = pa.string(), pa.int64(), pa.float64(), pa.bool_()


def _schema(columns: dict[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(columns.items()))


IMAGES = _schema(
    {
        **dict.fromkeys(("key", "shard"), _S), **dict.fromkeys(("width", "height"), _I),
        **dict.fromkeys(("sha256", "dataset"), _S),
        **dict.fromkeys(("n_captions", "n_tags", "n_regions", "n_stuff"), _I),
        "caption": _S, "caption_score": _F, "caption_source": _S, "alt": _S, "tags": _S, "tag_score_min": _F,
    }
)  # fmt: skip
# an import's own: also what the image was called in its source, the format and size of the stored file
IMPORTED = pa.schema([*IMAGES, pa.field("name", _S), pa.field("format", _S), pa.field("bytes", _I)])
REGIONS = _schema(
    {
        **dict.fromkeys(("key", "region_id"), _S), **dict.fromkeys(("width", "height"), _I),
        **dict.fromkeys(("x0", "y0", "x1", "y1", "score"), _F), **dict.fromkeys(("is_stuff", "labelled"), _B),
        "label": _S, "label_score": _F, "caption": _S, "caption_score": _F, "source": _S, "has_mask": _B,
        **dict.fromkeys(("mask_area", "mask_x0", "mask_y0", "mask_x1", "mask_y1"), _F),
        "n_negatives": _I, "negative_fault": _S,
    }
)  # fmt: skip
QUARANTINE = _schema(dict.fromkeys(("key", "shard", "region_id", "stage", "reason", "detail"), _S))
# what annotation said and did not write, by the role that said it; a text has no box where the whole image is meant
REJECTED = _schema(
    {
        **dict.fromkeys(("key", "shard", "region_id", "stage", "role", "reason", "text"), _S),
        "score": _F, "source": _S, **dict.fromkeys(("x0", "y0", "x1", "y1"), _F), "detail": _S,
    }
)  # fmt: skip
# what a model makes of a true region, or of the whole image where there is no `region_id`: its best label, and how sure
# it is of that and of the true one
PREDICTIONS = _schema(
    {**dict.fromkeys(("key", "region_id", "model", "label", "truth"), _S), "score": _F, "truth_score": _F}
)
AGAIN = _schema(dict.fromkeys(("key", "name", "json"), _S))  # an image that was there before, and its record


def image_row(record: ImageRecord, shard: str) -> dict[str, Any]:
    """Return a record as one row of `images.parquet`."""
    captions, tags, regions = record.captions or [], record.tags or [], record.regions or []
    # the annotator's own caption, or the alt text where it had nothing to say
    written = next((c for c in captions if c.source != "alt"), _first(captions))
    return {
        "key": record.key,
        "shard": shard,
        "width": record.width,
        "height": record.height,
        "sha256": record.sha256,
        "dataset": record.source.dataset,
        "n_captions": len(captions),
        "n_tags": len(tags),
        "n_regions": len(regions),
        "n_stuff": sum(region.is_stuff for region in regions),
        "caption": written.text if written and written.text.strip() else None,
        "caption_score": written.score if written else None,
        "caption_source": written.source if written else None,
        "alt": next((c.text for c in captions if c.source == "alt"), ""),
        "tags": "|".join(tag.text for tag in tags),
        "tag_score_min": min((tag.score for tag in tags), default=None),
    }


def region_row(record: ImageRecord, region: Region) -> dict[str, Any]:
    """Return a region as one row of `regions.parquet`.

    Raises:
        DataError: its mask is none; names key and region.
    """
    tag, caption = _first(region.tags), _first(region.captions)
    x0, y0, x1, y1 = region.box_xyxy
    try:
        tight = mask_ops.tight_box(region.mask) if region.mask else None
    except InputError as error:
        raise DataError(f"{record.key}: region {region.id}: {error}") from error
    return {
        "key": record.key,
        "region_id": region.id,
        "width": record.width,
        "height": record.height,
        **dict(zip(("x0", "y0", "x1", "y1"), (x0, y0, x1, y1), strict=True)),
        "score": region.score,
        "is_stuff": region.is_stuff,
        "labelled": tag is not None,
        "label": tag.text if tag else None,
        "label_score": tag.score if tag else None,
        "caption": caption.text if caption else None,
        "caption_score": caption.score if caption else None,
        "source": tag.source if tag else None,
        "has_mask": region.mask is not None,
        "mask_area": float(mask_ops.area(region.mask)) if region.mask else None,
        **dict(zip(("mask_x0", "mask_y0", "mask_x1", "mask_y1"), tight or (None,) * 4, strict=True)),
        "n_negatives": len(region.negatives or []),
        "negative_fault": _negative_fault(region),
    }


def _negative_fault(region: Region) -> str | None:
    """Return the first negative without words, or that is a text of the region itself; None: there is none."""
    right = {_plain(text.text) for text in (*(region.captions or []), *(region.tags or []))}
    for negative in region.negatives or []:
        if not any(letter.isalpha() for letter in negative.text):
            return f"{negative.text!r} has no words"
        if _plain(negative.text) in right:
            return f"{negative.text!r} is a text of the region"
    return None


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(" .").split())


def _first(texts: Sequence[Text] | None) -> Text | None:
    return texts[0] if texts else None


def write_table(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    """Write rows as parquet, whole or not at all."""
    with atomic_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary)


class TableWriter:
    """Rows to a parquet file, some thousand at a time, so that a table of any length needs little memory.

    Use on an open file, or on the temporary path of `io.atomic.atomic_file`, so that the table appears whole or not at
    all.
    """

    def __init__(self, path: Path | IO[bytes], schema: pa.Schema) -> None:
        self._schema, self._writer = schema, pq.ParquetWriter(path, schema)
        self._rows: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []
        self._batched = 0  # rows of the batches

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows to the table's file."""
        self._rows.extend(rows)
        if len(self._rows) >= _GROUP:
            self._flush()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Append rows of the same schema."""
        if self._rows:
            self._flush()
        if batch.num_rows:
            self._batches.append(batch)
            self._batched += batch.num_rows
        if self._batched >= _JOINED:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches, self._schema), row_group_size=self._batched)
            self._batches, self._batched = [], 0
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def join_tables(path: Path, parts: Iterable[Path | BytesIO], schema: pa.Schema) -> int:
    """Join tables of one schema, one part (a file or a buffer) at a time, and return the number of rows."""
    rows = 0
    with atomic_file(path) as temporary, closing(TableWriter(temporary, schema)) as writer:
        for part in parts:
            for batch in pq.read_table(part, schema=schema).to_batches():
                writer.add_batch(batch)
                rows += batch.num_rows
    return rows


def batches(path: Path, columns: Sequence[str], rows: int = _BATCH) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a parquet table, at most `rows` rows at a time."""
    with pq.ParquetFile(path) as table:
        yield from table.iter_batches(rows, columns=list(columns))


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a parquet table."""
    return pq.read_table(path, columns=list(columns))
