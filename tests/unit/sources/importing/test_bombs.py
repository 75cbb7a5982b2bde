"""Sources that were made to fill the memory: each ends in one line or in the quarantine, and takes little of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("import_bombs.py")
ROOT = Path(__file__).parents[4]
MOST_MIB = 300
# where a source is refused as a whole, what is said; else samples, and reasons and details of what is put aside
EXPECTED: dict[str, str | tuple[int, dict[str, str]]] = {
    "long_name": (1, {"truncated_tar": "a header of 6442450944 bytes, expected at most 65536"}),
    "long_attributes": (1, {"truncated_tar": "a header of 6442450944 bytes, expected at most 65536"}),
    "skipped": (1, {"too_large": "at most 20000000 bytes, got 6442450944", "truncated_tar": "more than 200 times"}),
    "chained": (1, {"truncated_tar": "hundreds of headers before a file"}),
    "shared": (1, {"truncated_tar": "more than 1000 attributes"}),
    "holes": (1, {"truncated_tar": "a file with holes"}),
    "one_key": (2, {"too_large": "members more than one sample can have, which were not read"}),
    "specials": (1, {"bad_text": "expected a file, found a device", "unreadable": "expected a file, found a"}),
    "zero_table": "DataError: .* expected a file, found a device, a pipe or the like",
    "pipe_table": "DataError: .* expected a file, found a device, a pipe or the like",
    "many_rows": r"DataError: .* image: expected at most \d+ values of \d+ bytes, got 5000000",
    "long_rows": (1, {"bad_row": "expected a caption of at most 100000 characters, got 4194304"}),
    "long_lists": "DataError: .* expected rows of at most 67108864 bytes, got one of more",
    "deep": "DataError: .* too many brackets inside each other",
    "digits": (1, {"bad_row": "expected a caption as text"}),
    "endless": "DataError: .* no value that ends within 33554432 characters",
    "endless_line": (1, {"bad_row": "a line of more than 33554432 characters"}),
    "endless_cell": (1, {"bad_row": "field larger than field limit"}),
    "endless_quote": (1, {"bad_row": "field larger than field limit"}),
    "endless_head": "InputError: .* expected a column such as file_name",
    "pictures": (2, {"too_large": "Decompressed data too large", "unreadable": "Too much memory used in text chunks"}),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Run all imports in a process of 4 GiB and return their outcomes."""
    command = [sys.executable, str(CHILD), str(tmp_path_factory.mktemp("bombs"))]
    done = subprocess.run(  # noqa: S603 - our own script
        command, capture_output=True, text=True, timeout=280, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    results = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, (sorted(set(EXPECTED) - set(results)), done.stderr[-2000:])
    return results


def test_all_of_them_were_tried(outcomes: dict[str, dict[str, Any]]) -> None:
    assert set(outcomes) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bomb_fills_no_memory_and_is_named(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    outcome, expected = outcomes[name], EXPECTED[name]
    assert outcome["peak_mib"] < MOST_MIB
    if isinstance(expected, str):
        assert re.match(expected, outcome["error"])
        assert len(outcome["error"]) < 1000
        return
    samples, reasons = expected
    assert outcome["samples"] == samples
    for reason, detail in reasons.items():
        assert any(one == reason and detail in text for one, _, text in outcome["put_aside"]), outcome["put_aside"]
