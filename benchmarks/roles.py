"""Measure every kind of annotator at the size of its published weights, with random weights: nothing is downloaded.

    python benchmarks/roles.py                                  # every kind and role on the GPU, or else on the CPU
    python benchmarks/roles.py --kinds sam3 clip --batch 8 --images 32
    python benchmarks/roles.py --small                          # a quick check with tiny weights
    python benchmarks/roles.py --write docs/scale.md            # and the table between its markers

Each kind runs in a process of its own, so that the memory is its own and one that fails does not end the others. Images
have 640 x 480 pixels and three concepts in their caption; roles that are given regions get ten. Random weights write
texts of the greatest length and find nothing, or nonsense: the times hold for the models, not for what a good answer
makes annotate do afterwards.

Prints a table, or JSON with --json. With --write the figures of this device are stored in `benchmarks/roles.json`
beside those of the other device, and the table of both is renewed; `python -m benchmarks.scale` takes measured GPU
times from that file instead of published ones.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, and not the root

from benchmarks.real_size import table  # noqa: E402

_POLL_S = 0.5


def run_kind(kind: str, arguments: Sequence[str], memory_gb: float, timeout_s: float) -> dict[str, Any]:
    """Measure a kind in a process, which ends when it takes too much memory or time.

    Args:
        kind: of `annotate.models`.
        arguments: of the process.
        memory_gb: resident memory at which it is ended.
        timeout_s: time after which it is ended.

    Returns:
        `rows`, or `skipped` with the reason.
    """
    command = [sys.executable, __file__, "--one", kind, *arguments]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, text=True)  # noqa: S603 - this script
        began, reason = time.monotonic(), None
        while process.poll() is None:
            if _resident_gb(process.pid) > memory_gb:
                reason = f"more than {memory_gb:g} GB of memory"
            elif time.monotonic() - began > timeout_s:
                reason = f"more than {timeout_s:g} s"
            if reason is not None:
                process.kill()
                process.wait()
            time.sleep(_POLL_S)
        if reason is not None:
            return {"kind": kind, "skipped": reason}
        out.seek(0), errors.seek(0)
        lines, told = out.read().strip().splitlines(), errors.read().strip().splitlines()
    if process.returncode == 0 and lines:
        return dict(json.loads(lines[-1]))
    return {"kind": kind, "skipped": f"exit code {process.returncode}: {(told or ['nothing was said'])[-1][:200]}"}


def _resident_gb(pid: int) -> float:
    """Return the memory of a process; 0 where the system has no /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * 4096 / 1e9


def _one(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a kind in this process, in half precision if full precision does not fit on a CPU."""
    import torch

    from benchmarks.real_size.measure import Load, measure, parameters, unmeasured
    from benchmarks.real_size.published import WEIGHTS

    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    reason = unmeasured(kind)
    if reason is not None:
        return {"kind": kind, "skipped": reason}
    weights, dtype = parameters(kind), arguments.dtype
    about = {"kind": kind, "model": "tiny" if arguments.small else WEIGHTS[kind], "parameters": weights}
    if arguments.device == "cpu" and not arguments.small:
        if dtype == "auto":
            dtype = "fp32" if weights * 4 / 1e9 + 2 < arguments.memory_gb else "bf16"
        needed = weights * (4 if dtype == "fp32" else 2) / 1e9 + 1
        if needed > arguments.memory_gb:
            return {**about, "skipped": f"needs {needed:.0f} GB of memory, of {arguments.memory_gb:g}"}
    load = Load(arguments.device, dtype, arguments.batch, arguments.images, arguments.regions, arguments.small)
    return {**about, "load": asdict(load), "rows": measure(kind, load)}


def about_device(device: str) -> dict[str, Any]:
    """Return the name of the device, its threads and the versions that matter."""
    import torch
    import transformers

    name = platform.machine() if device == "cpu" else torch.cuda.get_device_name(device)
    cores = torch.get_num_threads() if device == "cpu" else None
    return {"name": name, "threads": cores, "torch": torch.__version__, "transformers": transformers.__version__}


def main() -> None:
    """Measure the kinds one after the other, print the table and store the figures."""
    from umgclip.params.annotators import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=sorted(KINDS), metavar="KIND")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--dtype", default="auto", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--batch", type=int, help="images in a forward pass; 8 on a GPU, 1 on a CPU")
    parser.add_argument("--images", type=int, help="measured images; 32 on a GPU, 1 on a CPU")
    parser.add_argument("--regions", type=int, default=10, help="regions of an image")
    parser.add_argument("--threads", type=int, help="threads of torch on a CPU")
    parser.add_argument("--memory-gb", type=float, help="memory at which a process is ended; 10 on a CPU")
    parser.add_argument("--timeout-s", type=float, default=1800.0, help="time after which a process is ended")
    parser.add_argument("--small", action="store_true", help="tiny weights: whether it runs, not how fast")
    parser.add_argument("--write", type=Path, help="document with the markers; also renews benchmarks/roles.json")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=sorted(KINDS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.small and arguments.write:
        parser.error("--write: expected figures of published sizes, got --small")
    if arguments.device == "auto":
        import torch

        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    on_cpu = arguments.device == "cpu"
    arguments.batch = arguments.batch or (1 if on_cpu else 8)
    arguments.images = arguments.images or (1 if on_cpu else 32)
    arguments.memory_gb = arguments.memory_gb or (10.0 if on_cpu else math.inf)
    if arguments.one:
        print(json.dumps(_one(arguments.one, arguments)))
        return
    passed = [f"--{name}={getattr(arguments, name.replace('-', '_'))}"
              for name in ("device", "dtype", "batch", "images", "regions", "memory-gb")]  # fmt: skip
    passed += ["--small"] if arguments.small else []
    passed += [f"--threads={arguments.threads}"] if arguments.threads else []
    about = about_device(arguments.device)
    if on_cpu and arguments.threads:
        about["threads"] = arguments.threads
    kinds: list[dict[str, Any]] = []
    measured = {"cpu" if on_cpu else "cuda": {"device": about, "kinds": kinds}}
    for kind in arguments.kinds:
        kinds.append(run_kind(kind, passed, arguments.memory_gb, arguments.timeout_s))
        print(table.progress(kinds[-1]), file=sys.stderr, flush=True)
        if arguments.write is not None:  # after each, because all of them take long
            table.store(measured)
            table.write(arguments.write)
    print(json.dumps(measured) if arguments.json else table.rendered(measured))


if __name__ == "__main__":
    main()
