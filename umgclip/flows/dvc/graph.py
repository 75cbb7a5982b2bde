"""The stages of `dvc.yaml` as DVC resolves them: their order, files and dependencies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from umgclip.errors import InputError
from umgclip.flows.dvc.workspace import dvc_repo_command

_READ_TIMEOUT_S = 120


@dataclass(frozen=True)
class Stage:
    """A stage, or a `.dvc` file without a command; paths are relative to the repository's root.

    Attributes:
        name: name for `dvc repro`.
        command: whether it has a command.
        cmd: its command, for a shell.
        always_changed: it runs every time, and its result never comes from the run-cache.
        deps: paths that it reads.
        outs: paths that it writes into DVC's cache.
        kept_by_git: paths that it writes and git tracks instead (`cache: false`), such as metrics.
        needs: names of the stages that write what it reads.
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
        """True if the stage has effects outside its files: it runs every time although it has inputs.

        A stage without inputs, such as the digests of the installed code, runs every time only to check.
        """
        return self.always_changed and bool(self.deps)


@dataclass(frozen=True)
class Graph:
    """All stages of a repository in execution order.

    Attributes:
        nodes: stages and `.dvc` files.
        unchanged: names of the leading stages that were up to date when DVC checked; empty if it did not.
    """

    nodes: tuple[Stage, ...]
    unchanged: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The nodes that have a command, in execution order."""
        return tuple(node for node in self.nodes if node.command)

    def up_to(self, target: str | None) -> tuple[Stage, ...]:
        """Return the stages that `target` needs, with itself last; all stages for None.

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
        """Return the stages that depend on these stages, directly or indirectly."""
        reached = set(names)
        for node in self.nodes:
            if reached.intersection(node.needs):
                reached.add(node.name)
        return reached.difference(names)

    def cached_inputs(self, stage: Stage) -> tuple[str, ...]:
        """Return the inputs of a stage that are in DVC's cache."""
        outs = [out for node in self.nodes for out in node.outs]
        return tuple(dep for dep in stage.deps if any(_overlap(dep, out) for out in outs))

    def inputs_kept_by_git(self, stage: Stage) -> tuple[str, ...]:
        """Return the inputs of a stage that are outputs of other stages and tracked by git."""
        return tuple(out for node in self.nodes for out in node.kept_by_git if out in stage.deps)


def read_graph(root: Path, environment: Mapping[str, str], *, look: bool = False) -> Graph:
    """Read the stages of a repository through DVC.

    Args:
        root: the repository.
        environment: environment variables of the DVC process.
        look: also determine which leading stages are up to date.

    Raises:
        InputError: it is not a DVC repository, or its files do not parse.
    """
    command = [sys.executable, *dvc_repo_command("graph", *(["--look"] if look else []))]
    done = subprocess.run(  # noqa: S603 - fixed arguments
        command, cwd=root, env=dict(environment), capture_output=True, text=True, timeout=_READ_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise InputError(f"{root}: expected a repository with valid stages in dvc.yaml: {reason[0]}; correct the file")
    content = json.loads(done.stdout.splitlines()[-1])
    return Graph(tuple(_stage(entry) for entry in content["nodes"]), tuple(content["unchanged"]))


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
    """Return whether two paths are the same or one contains the other."""
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
