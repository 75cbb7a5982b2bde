"""A result of a search: an image or a region, with its box, its texts, its place and its similarity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from umgclip.search.rows import SHOWN


@dataclass(frozen=True)
class Hit:
    """One image or region that a search returned.

    Attributes:
        similarity: cosine with the query, -1 to 1.
        kind: `region` or `image`.
        key: key of the image in its dataset.
        region_id: the region's; None for an image.
        box_xyxy: `x0, y0, x1, y1` in pixels of the upright image; of an image, all of it.
        width: of the image in pixels.
        height: of the image in pixels.
        score: of the region by its source; 1 for an image.
        is_stuff: whether the region is a background.
        label: its first tag; None without one.
        tags: all tags, best first.
        captions: all captions.
        dataset: name of the source dataset.
        url: address of the image in the web, if the record has one.
        file_name: what the image's file was called where it came from, if the record says so.
        split: part of the dataset, such as `train`.
        shard: path of the shard, below the part's folder, or an `s3://` URL.
        position: number of the sample in the shard, from 0.
    """

    similarity: float
    kind: str
    key: str
    region_id: str | None
    box_xyxy: tuple[float, float, float, float]
    width: int
    height: int
    score: float
    is_stuff: bool
    label: str | None
    tags: tuple[str, ...]
    captions: tuple[str, ...]
    dataset: str
    url: str | None
    file_name: str | None
    split: str
    shard: str
    position: int

    @classmethod
    def of(cls, row: Mapping[str, Any], similarity: float) -> Hit:
        """Read the columns of a row."""
        values = {name: row[name] for name in SHOWN}
        sequences = {name: tuple(row[name]) for name in ("box_xyxy", "tags", "captions")}
        return cls(similarity=similarity, **{**values, **sequences})

    @property
    def image(self) -> tuple[str, str, int]:
        """The image that it is of: part, shard and position."""
        return self.split, self.shard, self.position

    @property
    def image_name(self) -> str:
        """The name that the owner of the image knows: that of its file, else its key."""
        return self.file_name or self.key

    @property
    def name(self) -> str:
        """The title of the result on a page: its label, else its first caption, else nothing."""
        return self.label or (self.captions[0] if self.captions else "")

    def as_json(self) -> dict[str, Any]:
        """Return all fields as JSON values; the similarity has four decimals, the box two, the score four."""
        rounded = {
            "similarity": round(self.similarity, 4),
            "score": round(self.score, 4),
            "box_xyxy": [round(side, 2) for side in self.box_xyxy],
        }
        return {**asdict(self), **rounded, "tags": list(self.tags), "captions": list(self.captions)}
