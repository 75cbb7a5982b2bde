"""Stages by `dvc repro`: what became of it, or whose fault it is that nothing did."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from flows.dvc.failures import Unavailable, explain
from flows.dvc.process import OnLine, ignore
from flows.dvc.workspace import Workspace

_SAID = re.compile(r"(Running stage|Stage) '(?P<stage>[^']+)'(?P<rest>.*)")


class StageState(StrEnum):
    """What became of a stage."""

    RAN = "ran"
    CACHED = "cached"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Outcome:
    """A stage that is done; `where` is `here` or the pool that computed it."""

    stage: str
    state: StageState
    seconds: float
    where: str = "here"


def repro(
    workspace: Workspace,
    stage: str,
    *options: str,
    on_line: OnLine = ignore,
    timeout_s: float | None = None,
) -> Outcome:
    """Bring a stage up to date; what it reads has to be.

    Args:
        workspace: where.
        stage: its name.
        options: of `dvc_repo.py bring`, such as `--shared`.
        on_line: gets what DVC and the stage write.
        timeout_s: of the whole.

    Raises:
        StageFailed: the stage says no; trying again is useless.
        Unavailable: something around it failed.
    """
    state = StageState.UNCHANGED

    def watch(line: str) -> None:
        nonlocal state
        state = _state(line).get(stage, state)
        on_line(line)

    started = time.monotonic()
    finished = workspace.dvc_repo("bring", stage, *options, on_line=watch, timeout_s=timeout_s)
    if finished.code != 0:
        raise explain(f"stage {stage}", finished)
    return Outcome(stage, state, time.monotonic() - started)


def refusing(workspace: Workspace) -> Workspace:
    """The same place, where nothing can be computed: DVC runs commands by the program in `SHELL`, here `false`."""
    return Workspace(workspace.root, {**workspace.environment, "SHELL": shutil.which("false") or "/bin/false"})


class NotRestored(Unavailable):
    """The run-cache has no result for a stage's present inputs, or not all of its files."""


def recall(workspace: Workspace, stages: Sequence[str], *options: str) -> list[Outcome]:
    """Bring stages up to date from caches, one after another, as far as that needs no computing.

    Args:
        workspace: where.
        stages: their names, in running order.
        options: of `dvc_repo.py recall`, such as `--shared`.

    Returns:
        The leading stages that are up to date now.

    Raises:
        StageFailed, Unavailable: DVC failed, or a remote does not answer.
    """
    outcomes: list[Outcome] = []
    since = time.monotonic()

    def watch(line: str) -> None:
        nonlocal since
        for stage, state in _state(line).items():
            outcomes.append(Outcome(stage, state, time.monotonic() - since))
            since = time.monotonic()

    finished = workspace.dvc_repo("recall", *stages, *options, on_line=watch)
    if finished.code != 0:
        raise explain(f"restoring {', '.join(stages)}", finished)
    return outcomes


def restore(workspace: Workspace, stage: str, *options: str) -> Outcome:
    """Bring one stage up to date from caches alone.

    Raises:
        NotRestored: it would have to be computed.
        StageFailed, Unavailable: DVC failed, or a remote does not answer.
    """
    for outcome in recall(workspace, [stage], *options):
        return outcome
    raise NotRestored(f"stage {stage}: no cache holds its result for the present inputs")


def _state(line: str) -> dict[str, StageState]:
    """What a line of DVC's says of a stage; empty if nothing."""
    found = _SAID.search(line)
    if found is None:
        return {}
    if found[1] == "Running stage":
        return {found["stage"]: StageState.RAN}
    if "is cached - skipping run" in found["rest"]:
        return {found["stage"]: StageState.CACHED}
    return {found["stage"]: StageState.UNCHANGED} if "didn't change, skipping" in found["rest"] else {}
