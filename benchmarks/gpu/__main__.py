"""Measure everything that a GPU decides, in less than ten minutes, and store it as `benchmarks/results/DEVICE.json`.

    make bench-gpu                                   # the same as the next line
    python -m benchmarks.gpu --write docs/gpu.md     # real sizes, on the GPU
    python -m benchmarks.gpu --small                 # tiny models on the CPU, two minutes: whether everything runs
    python -m benchmarks.gpu --only serve evaluate --fresh

Every measurement runs in a process of its own with a limit of time and of memory. One that fails becomes a row with the
reason. Rows that are stored are kept, so a second run does what the first had no time for; `--fresh` forgets them.
Nothing is downloaded: weights are random, images are generated.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu import results
from benchmarks.gpu.cases import cases, run
from benchmarks.gpu.device import about, file_name
from benchmarks.gpu.process import forkserver, run_apart

_SHORTEST_S = 5.0  # with less time left, a measurement is not begun


def main() -> None:
    """Run the measurements that are missing, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--small", action="store_true", help="tiny models on the CPU: whether everything runs")
    parser.add_argument("--budget-s", type=float, default=570.0, help="of the whole run")
    parser.add_argument("--memory-gb", type=float, default=64.0, help="of one process on the machine itself")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="measurements whose name holds one of these words")
    parser.add_argument("--fresh", action="store_true", help="measure again what is stored")
    parser.add_argument("--out", type=Path, default=results.FOLDER, help="folder of the results")
    parser.add_argument("--write", type=Path, help="page with the markers for the tables of all devices")
    options = parser.parse_args()
    until = time.monotonic() + options.budget_s
    os.environ.setdefault("OMP_NUM_THREADS", "1" if options.small else str(os.cpu_count()))
    os.environ["HF_HUB_OFFLINE"] = "1"
    context = forkserver()
    asked = ("cpu" if options.small else options.device,)
    told = run_apart(about, asked, limit_s=300, memory_gb=options.memory_gb, context=context)
    if "failed" in told:
        raise SystemExit(f"benchmarks.gpu: {told['failed']}")
    device: dict[str, Any] = told["figures"] | {"small": options.small}
    path = options.out / file_name(device["device"], small=options.small)
    stored = results.load(path).get("rows", {})
    words = options.only or [""]
    wanted = [case for case in cases(small=options.small) if any(word in case.name for word in words)]
    rows = {name: row for name, row in stored.items() if not (options.fresh and name in {c.name for c in wanted})}
    for case in wanted:
        if "figures" in rows.get(case.name, {}):
            continue
        left = until - time.monotonic()
        if left < _SHORTEST_S:
            rows[case.name] = {"failed": "no time was left; run the command again"}
        else:
            limit = min(case.limit_s, left)
            rows[case.name] = run_apart(
                run, (case, device["kind"]), limit_s=limit, memory_gb=options.memory_gb, context=context
            )
        print(f"{case.name}: {rows[case.name]}", file=sys.stderr, flush=True)
        results.store(path, device, rows)
    print(results.markdown({**device, "rows": rows}))
    print(f"\n{path}", file=sys.stderr)
    if options.write is not None:
        results.write(options.write, [results.load(one) for one in sorted(options.out.glob("*.json"))])


if __name__ == "__main__":
    main()
