"""Split a lock file: packages that are the same on every machine, with hashes, and torch's builds, which are not.

`python without_torch.py requirements.lock COMMON TORCH` writes COMMON (torch, torchvision, and what only their GPU
builds need left out) and TORCH (`torch==2.15.0` and the like, without hashes: an index of CPU builds has its own).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

BUILDS = ("torch", "torchvision")
GPU_ONLY = re.compile(r"nvidia-|triton$|cuda-")
_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)", re.MULTILINE)


def split(lock: str) -> tuple[str, str]:
    """Return the two parts of a lock file as text.

    Args:
        lock: text of `uv pip compile --generate-hashes`: an entry starts in the first column, its hashes are indented.
    """
    starts = list(_ENTRY.finditer(lock))
    ends = [*(entry.start() for entry in starts[1:]), len(lock)]
    common = [lock[: starts[0].start()]]
    builds = []
    for entry, end in zip(starts, ends, strict=True):
        if entry["name"] in BUILDS:
            builds.append(f"{entry['name']}=={entry['version']}\n")
        elif not GPU_ONLY.match(entry["name"]):
            common.append(lock[entry.start() : end])
    if len(builds) != len(BUILDS):
        raise SystemExit(f"expected {', '.join(BUILDS)} in the lock, got {builds}")
    return "".join(common), "".join(builds)


def main() -> None:
    """Read the lock file and write its two parts."""
    lock, *targets = sys.argv[1:]
    for target, part in zip(targets, split(Path(lock).read_text(encoding="utf-8")), strict=True):
        Path(target).write_text(part, encoding="utf-8")


if __name__ == "__main__":
    main()
