"""The stages of `dvc.yaml` as DVC itself resolves them: order, files, who needs whom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from flows.dvc.workspace import dvc_repo_command
from umgclip.errors import InputError

_READ_TIMEOUT_S = 120


@dataclass(frozen=True)
class Stage:
    """A stage, or a `.dvc` file, which has no command. Paths are relative to the repository's root.

    Attributes:
        name: as `dvc repro` takes it.
        command: whether it runs anything.
        cmd: what it runs, for a shell.
        always_changed: it runs every time and never comes from the run-cache.
        deps: what it reads.
        outs: what it writes into DVC's cache.
        kept_by_git: what it writes beside it (`cache: false`), such as metrics.
        needs: names of the stages that make what it reads.
    """

    name: str
    command: bool
    always_changed: bool
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    kept_by_git: tuple[str, ...]
    needs: tuple[str, ...]
    cmd: str = ""

    @property
    def has_effects(self) -> bool:
        """Whether it changes more than its files: it runs every time, though inputs could say when it has to.

        A stage that reads nothing, such as the digests of the installed code, runs every time to look.
        """
        return self.always_changed and bool(self.deps)


@dataclass(frozen=True)
class Graph:
    """All stages in running order.

    Attributes:
        nodes: stages and `.dvc` files.
        unchanged: names of the leading stages that were up to date when DVC was asked; empty if it was not.
    """

    nodes: tuple[Stage, ...]
    unchanged: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those that run something."""
        return tuple(node for node in self.nodes if node.command)

    def up_to(self, target: str | None) -> tuple[Stage, ...]:
        """The stages that `target` needs, itself last; all of them for None.

        Raises:
            InputError: there is no such stage.
        """
        names = [stage.name for stage in self.stages]
        if target is None:
            return self.stages
        if target not in names:
            raise InputError(f"target: expected one of {', '.join(names)}, got {target!r}")
        wanted = {target}
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.needs)
        return tuple(stage for stage in self.stages if stage.name in wanted)

    def after(self, names: Iterable[str]) -> set[str]:
        """The stages that read, directly or not, what these stages write."""
        reached = set(names)
        for node in self.nodes:
            if reached.intersection(node.needs):
                reached.add(node.name)
        return reached.difference(names)

    def cached_inputs(self, stage: Stage) -> tuple[str, ...]:
        """What a stage reads that lies in DVC's cache."""
        outs = [out for node in self.nodes for out in node.outs]
        return tuple(dep for dep in stage.deps if any(_overlap(dep, out) for out in outs))

    def inputs_kept_by_git(self, stage: Stage) -> tuple[str, ...]:
        """What a stage reads that another stage wrote beside the cache."""
        return tuple(out for node in self.nodes for out in node.kept_by_git if out in stage.deps)


def read_graph(root: Path, environment: Mapping[str, str], *, look: bool = False) -> Graph:
    """Ask DVC.

    Args:
        root: the repository.
        environment: variables.
        look: ask as well which stages are up to date.

    Raises:
        InputError: no repository of DVC there, or its files do not parse.
    """
    command = [sys.executable, *dvc_repo_command("graph", *(["--look"] if look else []))]
    done = subprocess.run(  # noqa: S603 - own arguments
        command, cwd=root, env=dict(environment), capture_output=True, text=True, timeout=_READ_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise InputError(f"{root}: expected a repository with stages in dvc.yaml: {reason[0]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return Graph(tuple(_stage(entry) for entry in said["nodes"]), tuple(said["unchanged"]))


def _stage(entry: Mapping[str, Any]) -> Stage:
    return Stage(
        name=entry["name"],
        command=entry["command"],
        always_changed=entry["always_changed"],
        deps=tuple(entry["deps"]),
        outs=tuple(entry["outs"]),
        kept_by_git=tuple(entry["kept_by_git"]),
        needs=tuple(entry["needs"]),
        cmd=entry["cmd"],
    )


def _overlap(one: str, other: str) -> bool:
    """Whether two paths are the same or one lies in the other."""
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
