"""Regions that an import left out of a benchmark, from the tables that it wrote beside the shards."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

_TABLE, _KEPT = "quarantine.parquet", "regions.parquet"


def regions_left_out(benchmark: Path) -> int:
    """Count the regions of the benchmark's images that its import put into the quarantine, such as boxes without area.

    A region of which only a half went there, as its mask, is not counted. Without tables there are none.
    """
    if not all((benchmark / name).is_file() for name in (_TABLE, _KEPT)):
        return 0
    columns = ("key", "region_id")
    refused, stored = (
        set(zip(*(table.column(name).to_pylist() for name in columns), strict=True))
        for table in (pq.read_table(benchmark / name, columns=list(columns)) for name in (_TABLE, _KEPT))
    )
    return sum(region is not None and (key, region) not in stored for key, region in refused)
