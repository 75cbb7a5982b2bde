"""Provide functions of DVC that the `dvc` command lacks, through its Python interface in a separate process.

`python -m umgclip.flows.dvc.repo`, in the repository of the working directory:

* `graph`: write the stages in execution order as JSON. `--look`: also which leading ones are up to date.
* `bring STAGE`: like `dvc repro --single-item`, but use an earlier result from any cache (`run_cache.py`).
  `--shared`: from the default remote too; `--push`: upload the result; `--force`: compute in any case.
* `recall STAGE...`: restore these stages in turn, until one has to be computed. `--shared`, `--push`.
* `remember`: add all stages that are up to date to the run-cache; write the path of the cache.
* `share FILE...`: download what these `.dvc` files track from the default remote; `--push`: also upload it.
* `upload STAGE...`: upload results and their run-cache entries to the default remote. `--trial NAME`: list them there.
* `download NAME`: download the results listed under that name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.cli import main as dvc
from dvc.exceptions import DvcException
from dvc.repo import Repo

from umgclip.flows.dvc import listings, run_cache


def graph(repo: Repo) -> list[dict[str, Any]]:
    """Return stages and `.dvc` files in topological order; ties keep the order of the file."""
    edges = repo.index.graph
    position = {stage: number for number, stage in enumerate(repo.index.stages)}
    ordered = nx.lexicographical_topological_sort(edges.reverse(), key=position.__getitem__)
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


def bring(repo: Repo, asked: argparse.Namespace) -> int:
    """Bring one stage up to date and return DVC's exit code."""
    (name,) = asked.names
    if not asked.force:
        run_cache.recall(repo, name, shared=asked.shared)
    code = dvc(["--wait-for-lock", "repro", "--single-item", *(["--force"] if asked.force else []), name])
    if code == 0 and asked.push:
        run_cache.upload(repo, [name])
    return int(code)


def recall(repo: Repo, asked: argparse.Namespace) -> int:
    """Bring stages up to date until one has to be computed, and return DVC's exit code."""
    os.environ["SHELL"] = shutil.which("false") or "/bin/false"  # DVC runs commands with this program
    done = run_cache.unchanged(repo, asked.names)
    for name in done:
        sys.stdout.write(f"Stage '{name}' didn't change, skipping\n")  # DVC's wording, which `repro.py` parses
    for name in asked.names[len(done) :]:
        if not run_cache.recall(repo, name, shared=asked.shared):
            break
        sys.stdout.flush()
        code = dvc(["--wait-for-lock", "repro", "--single-item", name])
        if code != 0:
            return int(code)
        done.append(name)
    if asked.push:
        run_cache.upload(repo, done)
    return 0


def _do(asked: argparse.Namespace) -> int:
    repo = Repo(_wait_for_lock=asked.what not in ("graph", "remember"))  # those two need no lock
    if asked.what == "graph":
        nodes = graph(repo)
        names = [node["name"] for node in nodes if node["command"]]
        content = {"nodes": nodes, "unchanged": run_cache.unchanged(repo, names) if asked.look else []}
        sys.stdout.write(json.dumps(content) + "\n")
    elif asked.what == "bring":
        return bring(repo, asked)
    elif asked.what == "recall":
        return recall(repo, asked)
    elif asked.what == "remember":
        run_cache.remember(repo)
        sys.stdout.write(f"{repo.cache.local_cache_dir}\n")
    elif asked.what == "share":
        run_cache.share(repo, asked.names, push=asked.push)
    elif asked.what == "upload":
        run_cache.upload(repo, asked.names, asked.trial)
    else:
        run_cache.download(repo, *asked.names)
    return 0


def _one_line(error: BaseException | None) -> str:
    """Return the messages of an error and its causes as one line."""
    texts = []
    while error is not None:
        texts.append(str(error) or type(error).__name__)
        error = error.__cause__
    return ": ".join(texts)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command given by the arguments and return its exit code."""
    parser = argparse.ArgumentParser(prog="umgclip.flows.dvc.repo")
    parser.add_argument("what", choices=["graph", "bring", "recall", "remember", "share", "upload", "download"])
    parser.add_argument("names", nargs="*")
    for option in ("--shared", "--push", "--force", "--look"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("--trial")
    listings.guard()
    try:
        return _do(parser.parse_intermixed_args(words))
    except (DvcException, OSError, run_cache.NotTransferred) as error:
        sys.stderr.write(f"ERROR: {_one_line(error)}\n")
        return 255


if __name__ == "__main__":
    sys.exit(main())
