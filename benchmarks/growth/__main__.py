"""Measure how each cost grows with its size, and write the page of the curves.

    python -m benchmarks.growth                                  # up to 10,000 images, some minutes
    python -m benchmarks.growth --max 1e5 --write docs/growth.md
    python -m benchmarks.growth --max 1e6 --only validate --write docs/growth.md

Every size of every cost is measured in a process of its own: processor time of it and of its children, so that other
work on the machine matters little, and how far its memory rose. What is measured now replaces what was measured before
of the same cost and size (`benchmarks/growth/results.json`); `--resume` measures only what is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.growth import page
from benchmarks.growth.costs import BY_NAME, COSTS, clean
from benchmarks.growth.process import in_a_process, measured


def main() -> None:
    """Run the measurements and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max", type=float, default=1e4, help="largest number of images or captions")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="costs whose name holds one of these words")
    parser.add_argument("--work", type=Path, help="folder for generated data; a temporary one by default")
    parser.add_argument("--timeout-s", type=float, default=1800.0, help="of one measurement, with its data")
    parser.add_argument("--resume", action="store_true", help="only what the stored results lack")
    parser.add_argument("--write", type=Path, help="page with the markers; also renews the stored results")
    parser.add_argument("--one", nargs=2, metavar=("COST", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        name, size = options.one
        print(json.dumps(measured(BY_NAME[name].prepare(int(size), options.work))))
        return
    stored = page.load() if options.write is not None or options.resume else {}
    words = options.only or [""]
    chosen = [cost for cost in COSTS if any(word in cost.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="umgclip-growth-") as scratch:
        for cost in chosen:
            of_size = stored.setdefault(cost.name, {})
            for size in cost.measured_sizes(options.max):
                if options.resume and str(size) in of_size:
                    continue
                folder = (options.work or Path(scratch)) / f"{COSTS.index(cost)}-{size}"
                folder.mkdir(parents=True)
                of_size[str(size)] = in_a_process(cost.name, size, folder, options.timeout_s)
                clean(folder)
                print(f"{cost.name}, {size:,} {cost.axis}: {of_size[str(size)]}", file=sys.stderr, flush=True)
                if options.write is not None:
                    page.store(stored)
    if options.write is not None:
        page.write(options.write, stored)
    else:
        print(page.markdown(stored, "growth.png"))
    for cost in chosen:
        for words_about in page.too_steep(cost, stored[cost.name]):
            print(f"careful: {words_about}", file=sys.stderr)


if __name__ == "__main__":
    main()
