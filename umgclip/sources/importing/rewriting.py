"""Rewriting of shards because of duplicates: later occurrences are removed, and their statements join the first one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umgclip.io import tables
from umgclip.io.manifest import describe_shard
from umgclip.io.places import Folder
from umgclip.io.shard_source import ShardAt
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import ImageRecord, parse_record, shows_one_object, stored_record
from umgclip.sources.importing.duplicates import ImageIndex, RepeatedImage, merge

_HASHED = re.compile(r"-[0-9a-f]{12}$")


class Rewriting:
    """The shards of a dataset that have to change because of duplicates.

    Args:
        index: the dataset's images.
        stored: all shards by name.
        folder: a local folder for the new ones and their tables.

    Attributes:
        changed: the new shard in place of an old one, by the old one's name; without samples if nothing is left.
        conflicts: names of single-object images that were there before with another class.
    """

    def __init__(self, index: ImageIndex, stored: Mapping[str, ShardAt], folder: Path) -> None:
        self._index, self._stored, self._folder = index, stored, folder
        self.changed: dict[str, ShardAt] = {}
        self.conflicts: set[str] = set()

    def run(self) -> None:
        """Find the shards that have to change, and write new ones."""
        dropping = self._index.shards_with_drops()
        for shard in dropping:
            names = self._index.drops(shard)
            samples = (raw for raw in self._stored[shard].samples() if raw.key in names)
            self._index.drop(RepeatedImage(raw.key, names[raw.key], raw.json.decode()) for raw in samples)
        self._index.finish()
        for shard in sorted({*dropping, *self._index.shards_with_repeats()}):
            self._rewrite(shard)

    def table(self, shard: str, name: str) -> Path:
        """Return the path of a table with the rows of a rewritten shard, by the old shard's name."""
        return self._folder / f"{shard}.{name}.parquet"

    def _rewrite(self, shard: str) -> None:
        drops, repeats = self._index.drops(shard), self._index.repeats(shard)
        path = self._folder / "rewritten.tar"
        writer = ShardWriter(path)
        differs = bool(drops)
        rows: list[ImageRecord] = []
        sizes: list[tuple[str, int]] = []
        for raw in self._stored[shard].samples():
            if raw.key in drops:
                continue
            record = self._merged(
                stored_record(raw.json, key=raw.key, where=f"{shard}:{raw.key}"), repeats.get(raw.key, [])
            )
            content = record.to_json()
            differs = differs or content != raw.json
            writer.write(RawSample(raw.key, raw.image, raw.extension, content, raw.embeddings))
            rows.append(record)
            sizes.append((raw.extension, len(raw.image)))
        writer.close()
        if not differs:
            path.unlink()
            return
        info = describe_shard(path, len(rows))
        name = f"{_HASHED.sub('', Path(shard).stem)}-{info.sha256[:12]}.tar"
        path.rename(self._folder / name)
        self.changed[shard] = ShardAt(
            Folder(self._folder), info.model_copy(update={"path": name, "dataset": self._stored[shard].info.dataset})
        )
        self._tables(shard, name, rows, sizes)

    def _merged(self, record: ImageRecord, others: list[RepeatedImage]) -> ImageRecord:
        if shows_one_object(record):
            labels = {tag.text for tag in record.tags or []}
            for other in others:
                if {tag.text for tag in parse_record(other.json, where=other.name).tags or []} != labels:
                    self.conflicts.add(other.name)
        return merge(record, others)

    def _tables(self, shard: str, name: str, records: list[ImageRecord], sizes: list[tuple[str, int]]) -> None:
        names = self._index.names_of(record.key for record in records)
        images: list[dict[str, Any]] = [
            {**tables.image_row(record, name), "name": names[record.key], "format": extension, "bytes": size}
            for record, (extension, size) in zip(records, sizes, strict=True)
        ]
        regions = [tables.region_row(record, region) for record in records for region in record.regions or []]
        tables.write_table(self.table(shard, "images"), images, tables.IMPORTED)
        tables.write_table(self.table(shard, "regions"), regions, tables.REGIONS)
