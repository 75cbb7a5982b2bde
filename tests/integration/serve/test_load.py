"""Good clients beside slow and large ones, as the benchmark measures them: a ratio of two values of one run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.heavy


def test_slow_and_large_clients_take_little_from_good_ones():
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "serve_load.py"), "--seconds", "15"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["p95_ratio"] < 3, found
    assert found["large_statuses"]["413"] > 0
    assert found["large_statuses"]["200"] > 0
    assert set(found["large_statuses"]) <= {"200", "413", "503"}
    assert found["busy_share_afterwards"] < 0.1, "nothing goes on when all clients have gone"
