"""Names that are known because somebody or some model wrote them, beside those mined from captions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from umgclip.io import tables
from umgclip.records import ImageRecord


@dataclass
class Given:
    """Names that came with the images, as tags of them or of their regions: known, however rare."""

    things: set[str] = field(default_factory=set)
    stuff: set[str] = field(default_factory=set)

    def add(self, record: ImageRecord) -> None:
        """Those of an image."""
        self.things.update(tag.text for tag in record.tags or [])
        for region in record.regions or []:
            (self.stuff if region.is_stuff else self.things).update(tag.text for tag in region.tags or [])

    def add_written(self, dataset: Path) -> None:
        """Names that models wrote and no vocabulary held, from the tables."""
        regions = (
            tables.read_columns(dataset / "regions.parquet", ["label", "is_stuff"])
            .group_by(["label", "is_stuff"])
            .aggregate([])
        )
        for label, is_stuff in zip(regions["label"].to_pylist(), regions["is_stuff"].to_pylist(), strict=True):
            if label is not None:
                (self.stuff if is_stuff else self.things).add(label)
        for joined_tags in tables.read_columns(dataset / "images.parquet", ["tags"])["tags"].unique().to_pylist():
            self.things.update(name for name in joined_tags.split("|") if name)
