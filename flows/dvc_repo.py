"""What the `dvc` command does not tell or do, through DVC's own Python interface, in a process of its own.

`python -m flows.dvc_repo graph` writes the stages, in running order, as JSON. `python -m flows.dvc_repo push STAGE...`
uploads the outputs that git keeps (`cache: false`): they belong to the run-cache's entry, which cannot be restored
without them, and `dvc push --run-cache` leaves them out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.repo import Repo


def graph(repo: Repo) -> list[dict[str, Any]]:
    """Stages and `.dvc` files in an order in which each comes after what it needs, ties as in the file."""
    edges = repo.index.graph
    place = {stage: number for number, stage in enumerate(repo.index.stages)}
    ordered = nx.lexicographical_topological_sort(edges.reverse(), key=place.__getitem__)
    return [
        {
            "name": stage.addressing,
            "command": stage.cmd is not None,
            "cmd": " && ".join([stage.cmd] if isinstance(stage.cmd, str) else stage.cmd or []),
            "always_changed": stage.always_changed,
            "deps": [_path(repo, dep) for dep in stage.deps if dep.is_in_repo and not hasattr(dep, "params")],
            "outs": [_path(repo, out) for out in stage.outs if out.use_cache],
            "kept_by_git": [_path(repo, out) for out in stage.outs if not out.use_cache],
            "needs": sorted(needed.addressing for needed in edges.successors(stage)),
        }
        for stage in ordered
    ]


def _path(repo: Repo, file: Any) -> str:  # noqa: ANN401 - a dependency or an output
    return Path(file.fs_path).relative_to(repo.root_dir).as_posix()


def push(repo: Repo, names: list[str]) -> None:
    """Upload what git keeps of these stages to the default remote."""
    stages = [stage for name in names for stage in repo.stage.collect(name)]
    hashes = {out.hash_info for stage in stages for out in stage.outs if not out.use_cache and out.hash_info}
    failed = repo.cloud.push(hashes).failed
    if failed:
        raise SystemExit(f"{len(failed)} of {len(hashes)} files failed to upload")


def main() -> None:
    """Do what the first argument says, in the repository of the working directory."""
    what, *names = sys.argv[1:]
    repo = Repo()
    if what == "graph":
        sys.stdout.write(json.dumps(graph(repo)) + "\n")
    elif what == "push":
        with repo.lock:
            push(repo, names)
    else:
        raise SystemExit(f"expected graph or push, got {what!r}")


if __name__ == "__main__":
    main()
