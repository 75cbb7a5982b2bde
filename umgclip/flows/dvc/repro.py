"""Run stages with `dvc repro`, and return their outcomes or raise classified errors."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from umgclip.flows.dvc.failures import Unavailable, explain
from umgclip.flows.dvc.process import OnLine, ignore
from umgclip.flows.dvc.workspace import Workspace

_SAID = re.compile(r"(Running stage|Stage) '(?P<stage>[^']+)'(?P<rest>.*)")


class StageState(StrEnum):
    """The state of a stage after a run."""

    RAN = "ran"
    CACHED = "cached"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a finished stage; `where` is `here` or the pool that computed it."""

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
    """Bring a stage up to date and return its outcome; its inputs must be up to date.

    Args:
        workspace: the checkout.
        stage: name of the stage.
        options: options of `repo.py bring`, such as `--shared`.
        on_line: called with each line that DVC and the stage write.
        timeout_s: time limit of the whole command.

    Raises:
        StageFailed: the stage failed; a retry would not help.
        Unavailable: the infrastructure failed.
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
    """Return the workspace with computing disabled: `SHELL`, with which DVC runs commands, is `false`."""
    return Workspace(workspace.root, {**workspace.environment, "SHELL": shutil.which("false") or "/bin/false"})


class NotRestored(Unavailable):
    """The run-cache has no complete result for a stage's current inputs."""


def recall(workspace: Workspace, stages: Sequence[str], *options: str) -> list[Outcome]:
    """Bring stages up to date from caches in turn, until one has to be computed.

    Args:
        workspace: the checkout.
        stages: names of the stages in execution order.
        options: options of `repo.py recall`, such as `--shared`.

    Returns:
        The outcomes of the leading stages that are now up to date.

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
    """Bring one stage up to date from caches alone, and return its outcome.

    Raises:
        NotRestored: the stage would have to be computed.
        StageFailed, Unavailable: DVC failed, or a remote does not answer.
    """
    for outcome in recall(workspace, [stage], *options):
        return outcome
    raise NotRestored(f"stage {stage}: no cache holds its result for the current inputs; compute it")


def _state(line: str) -> dict[str, StageState]:
    """Return the state of a stage by its name if a line of DVC reports one, else nothing."""
    match = _SAID.search(line)
    if match is None:
        return {}
    if match[1] == "Running stage":
        return {match["stage"]: StageState.RAN}
    if "is cached - skipping run" in match["rest"]:
        return {match["stage"]: StageState.CACHED}
    return {match["stage"]: StageState.UNCHANGED} if "didn't change, skipping" in match["rest"] else {}
