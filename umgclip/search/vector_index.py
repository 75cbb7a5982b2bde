"""Indices of a large table: one of the vectors, so that a search compares few of them, and those of its conditions."""

from __future__ import annotations

import math
from typing import Any

from umgclip.search.store import VECTOR, compact
from umgclip.stage import begin

EXACT_ROWS = 100_000  # up to here all vectors are compared, which takes tens of milliseconds
PROBES, REFINE = 40, 20  # lists that are read, and how many candidates for each result are compared exactly
_GROWTH = 2.0  # an index is trained again when the table has so many times the rows
_NAMES = {"sample": "BTree", "shard_id": "BTree", "dataset": "Bitmap", "split": "Bitmap", "names": "LabelList"}


def tune(table: Any, trained: int, *, exact_rows: int = EXACT_ROWS) -> int:  # noqa: ANN401 - a LanceDB table
    """Make or extend the indices of a table.

    Args:
        table: rows with vectors.
        trained: rows that its vector index was trained on; 0 for none.
        exact_rows: tables of at most so many rows get no index.

    Returns:
        Rows that the vector index is trained on now; 0 for none.
    """
    rows = table.count_rows()
    if rows <= exact_rows:
        for index in table.list_indices():
            table.drop_index(index.name)
        return 0
    begin("building the indices")
    _index_conditions(table)
    if not trained or rows > _GROWTH * trained or not has_vector_index(table):
        begin(f"training the index of {rows:,} vectors")
        index_vectors(table, rows)
        trained = rows
    compact(table)  # rows that are not in the indices yet
    return trained


def index_vectors(table: Any, rows: int) -> None:  # noqa: ANN401 - a LanceDB table
    """Train the vector index of a table, which takes minutes for a million rows."""
    from lancedb.index import IvfRq

    config = IvfRq(distance_type="cosine", num_partitions=max(1, round(math.sqrt(rows))))
    table.create_index(VECTOR, config=config, replace=True)


def has_vector_index(table: Any) -> bool:  # noqa: ANN401 - a LanceDB table
    """Return whether there is an index of the vectors."""
    return any(VECTOR in index.columns for index in table.list_indices())


def _index_conditions(table: Any) -> None:  # noqa: ANN401 - a LanceDB table
    import lancedb.index as kinds

    present = {column for index in table.list_indices() for column in index.columns}
    for column, kind in _NAMES.items():
        if column not in present:
            table.create_index(column, config=getattr(kinds, kind)())
