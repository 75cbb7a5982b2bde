"""Tables written in groups of rows, few even where thousands of small parts are joined."""

import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.io.tables import TableWriter, join_tables

SCHEMA = pa.schema({"key": pa.string(), "number": pa.int64()})


def rows(first: int, count: int) -> list[dict]:
    return [{"key": f"k{number}", "number": number} for number in range(first, first + count)]


def test_small_batches_become_large_groups_in_their_order(tmp_path):
    writer = TableWriter(tmp_path / "t.parquet", SCHEMA)
    for first in range(0, 45_000, 100):
        writer.add_batch(pa.RecordBatch.from_pylist(rows(first, 100), schema=SCHEMA))
    writer.close()
    table = pq.ParquetFile(tmp_path / "t.parquet")
    assert [table.metadata.row_group(n).num_rows for n in range(table.num_row_groups)] == [20_000, 20_000, 5_000]
    assert table.read()["number"].to_pylist() == list(range(45_000))


def test_rows_and_batches_stay_in_the_order_in_which_they_came(tmp_path):
    writer = TableWriter(tmp_path / "t.parquet", SCHEMA)
    writer.add(rows(0, 3))
    writer.add_batch(pa.RecordBatch.from_pylist(rows(3, 2), schema=SCHEMA))
    writer.add_batch(pa.RecordBatch.from_pylist([], schema=SCHEMA))
    writer.add(rows(5, 4))
    writer.add_batch(pa.RecordBatch.from_pylist(rows(9, 1), schema=SCHEMA))
    writer.close()
    assert pq.read_table(tmp_path / "t.parquet").to_pylist() == rows(0, 10)


def test_parts_are_joined_into_one_group(tmp_path):
    parts = []
    for number in range(5):
        parts.append(tmp_path / f"{number}.parquet")
        pq.write_table(pa.Table.from_pylist(rows(10 * number, 10 if number != 2 else 0), schema=SCHEMA), parts[-1])
    assert join_tables(tmp_path / "all.parquet", parts, SCHEMA) == 40
    table = pq.ParquetFile(tmp_path / "all.parquet")
    assert table.num_row_groups == 1
    assert table.read()["number"].to_pylist() == [*range(20), *range(30, 50)]


def test_a_table_without_rows_has_its_columns(tmp_path):
    assert join_tables(tmp_path / "all.parquet", [], SCHEMA) == 0
    assert pq.read_table(tmp_path / "all.parquet").schema.equals(SCHEMA)
