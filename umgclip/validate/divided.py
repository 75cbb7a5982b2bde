"""The key columns of both tables, divided by the hash of the image's key, so that memory does not grow with them.

Rules that compare rows need all rows of a key at once, and no others. Tables of more rows than `validate.chunk_rows`
are divided into that many parts, each in a file of its own; smaller tables are one part that stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import UInt64
from numpy import ndarray

from umgclip.stage import Advance
from umgclip.validate.measures import first_copy
from umgclip.validate.tables import ColumnTable

ROW = "row"
"""Column with the number of a row in its table, in frames of divided tables."""
_IMAGES = ("key", "sha256", "caption")
_REGIONS = ("key", "region_id", "labelled", "label_score")


@dataclass(frozen=True)
class KeyPart:
    """The images of some keys, and the regions of the same keys; rows of both in the order of their tables."""

    number: int
    images: pd.DataFrame
    regions: pd.DataFrame


class DividedKeys:
    """The key columns of the images' and the regions' table, part by part.

    Args:
        images: the table of images.
        regions: the table of regions.
        most_rows: of a part, about.
        scratch: folder for the parts.
        advance: called with the number of rows of both tables that have been read.
    """

    def __init__(
        self, images: ColumnTable, regions: ColumnTable, most_rows: int, scratch: Path, advance: Advance
    ) -> None:
        divisible = "key" not in images.problems and "key" not in regions.problems
        self.parts = max(1, -(-max(images.rows, regions.rows) // most_rows)) if divisible else 1
        self._scratch = scratch
        self._whole: KeyPart | None = None
        self._copies: dict[int, str] | None = None
        if self.parts == 1:
            self._whole = KeyPart(0, images.whole(*_IMAGES), regions.whole(*_REGIONS))
            advance(images.rows + regions.rows)
            return
        self._divide("images", images.chunks(most_rows, _IMAGES), "key", advance)
        self._divide("regions", regions.chunks(most_rows, _REGIONS), "key", advance)
        if {"sha256"}.isdisjoint(images.problems):
            self._divide("contents", images.chunks(most_rows, ("key", "sha256")), "sha256", lambda _rows: None)
            frames = (self._read("contents", number) for number in range(self.parts))
            self._copies = {row: text for frame in frames for row, text in _copies(frame)}

    @property
    def has_captions(self) -> bool:
        """True if images come with a column of captions."""
        return "caption" in self._part(0).images

    def __iter__(self) -> Iterator[KeyPart]:
        return (self._part(number) for number in range(self.parts))

    def part_of(self, keys: pd.Series) -> UInt64[ndarray, " n"]:
        """Return the number of each key's part; rows without a key are all in one."""
        hashes = np.asarray(pd.util.hash_pandas_object(keys.astype("str"), index=False), dtype=np.uint64)
        return hashes % np.uint64(self.parts)

    def first_copies(self, images: pd.DataFrame) -> pd.Series:
        """Return the key of the first image with the same content, among all images; null for that image itself."""
        if self._copies is None:
            return first_copy(images)
        return images[ROW].map(self._copies).astype("str")

    def _part(self, number: int) -> KeyPart:
        if self._whole is not None:
            return self._whole
        return KeyPart(number, self._read("images", number), self._read("regions", number))

    def _divide(self, name: str, frames: Iterator[pd.DataFrame], by: str, advance: Advance) -> None:
        """Write the rows of a table to the files of their parts, with their numbers."""
        first, options = 0, pa.ipc.IpcWriteOptions(compression="lz4")
        with ExitStack() as stack:
            writers: list[pa.RecordBatchFileWriter] = []
            for frame in frames:
                table, bounds = self._by_part(frame.assign(**{ROW: np.arange(first, first + len(frame))}), by)
                if not writers:
                    paths = (self._path(name, number) for number in range(self.parts))
                    files = (pa.ipc.new_file(path, table.schema, options=options) for path in paths)
                    writers = [stack.enter_context(file) for file in files]
                for writer, start, end in zip(writers, bounds[:-1], bounds[1:], strict=True):
                    writer.write_table(table.slice(start, end - start))
                first += len(frame)
                advance(len(frame))

    def _by_part(self, frame: pd.DataFrame, by: str) -> tuple[pa.Table, list[int]]:
        """Return the rows of a frame sorted by their parts, and where each part begins; the last number is the end."""
        parts = self.part_of(frame[by])
        order = np.argsort(parts, kind="stable")
        bounds = np.searchsorted(parts[order], np.arange(self.parts + 1, dtype=np.uint64))
        return pa.Table.from_pandas(frame.iloc[order], preserve_index=False), bounds.tolist()

    def _read(self, name: str, number: int) -> pd.DataFrame:
        with pa.ipc.open_file(self._path(name, number)) as file:
            frame: pd.DataFrame = file.read_pandas()
        return frame

    def _path(self, name: str, number: int) -> str:
        return str(self._scratch / f"{name}-{number:05d}.arrow")


def _copies(frame: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Yield the rows whose content an earlier row has, with that row's key."""
    texts = first_copy(frame)
    later = texts.notna()
    yield from zip(frame.loc[later, ROW].tolist(), texts[later].tolist(), strict=True)
