"""Tables of processes that leave pandas out are those of all others."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema([("key", pa.string()), ("tags", pa.list_(pa.string())), ("score", pa.float32())])
ROWS = [{"key": "a", "tags": ["x", "y"], "score": 0.5}, {"key": "b", "tags": None, "score": None}]
_WRITE = f"""
import sys
from pathlib import Path
import pyarrow as pa
from umgclip.io.processes import leave_pandas_out
from umgclip.io.tables import write_table

if sys.argv[2] == "without":
    leave_pandas_out()
SCHEMA = pa.schema([("key", pa.string()), ("tags", pa.list_(pa.string())), ("score", pa.float32())])
write_table(Path(sys.argv[1]), {ROWS!r}, SCHEMA)
print("pandas" in sys.modules)
"""


def written(path: Path, how: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _WRITE, str(path), how], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_worker_writes_the_same_bytes_and_imports_no_pandas(tmp_path):
    assert written(tmp_path / "without.parquet", "without") == "False"
    assert written(tmp_path / "with.parquet", "with") == "True"
    assert (tmp_path / "without.parquet").read_bytes() == (tmp_path / "with.parquet").read_bytes()
    assert pq.read_table(tmp_path / "without.parquet").to_pylist() == ROWS


def test_where_pandas_is_in_use_it_stays():
    code = (
        "import pandas, sys, pyarrow as pa\n"
        "from umgclip.io.processes import leave_pandas_out\n"
        "leave_pandas_out()\n"
        "print(len(pa.table({'a': [1, 2]}).to_pandas()), sys.modules['pandas'] is pandas)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout.split() == ["2", "True"]
