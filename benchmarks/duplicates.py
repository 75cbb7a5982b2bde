"""Measure time and memory of the search for near duplicates among many perceptual hashes.

    python benchmarks/duplicates.py [--hashes 100000 1000000] [--distance 6]

The hashes are random; a tenth of them are copies with up to three changed bits. Each size runs in a separate process,
whose peak memory is reported. `grouped_s` is the search within the dataset, `against_s` the search against 5,000 images
of another one. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from umgclip.sources.near_duplicates.grouping import around_first, to_others

_OTHERS = 5000


def _hashes(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, count, dtype=np.uint64)
    copies = rng.choice(count, count // 10, replace=False)
    changed = codes[rng.integers(0, count, len(copies))]
    for _ in range(3):
        changed ^= np.uint64(1) << rng.integers(0, 64, len(copies)).astype(np.uint64)
    codes[copies] = changed
    return codes


def _measure(count: int, distance: int) -> dict[str, float]:
    codes = _hashes(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    groups = around_first(codes, distance)
    grouped = time.perf_counter() - began
    began = time.perf_counter()
    to_others(codes, codes[:_OTHERS], distance)
    against = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "hashes": count,
        "duplicates": int((groups.row != np.arange(count)).sum()),
        "grouped_s": round(grouped, 2),
        "against_s": round(against, 2),
        "memory_mb": round((peak - before) / 1024, 1),
    }


def main() -> None:
    """Run the measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--distance", type=int, default=6)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(_measure(arguments.hashes[0], arguments.distance)))
        return
    results = []
    for count in arguments.hashes:
        command = [sys.executable, __file__, "--alone", "--hashes", str(count), "--distance", str(arguments.distance)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this file
        results.append(json.loads(done.stdout))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
