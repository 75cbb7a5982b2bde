"""One stage by `dvc repro`: what became of it, or whose fault it is that nothing did."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from enum import StrEnum

from flows.failures import StageFailed, Unavailable, explain
from flows.process import OnLine, ignore
from flows.workspace import Workspace

_SAID = re.compile(r"(Running stage|Stage) '(?P<stage>[^']+)'(?P<rest>.*)")
_REFUSED = re.compile(r"failed to run: .+, exited with 1\b")


class State(StrEnum):
    """What became of a stage."""

    RAN = "ran"
    CACHED = "cached"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Outcome:
    """A stage that is done; `where` is `here` or the pool that computed it."""

    stage: str
    state: State
    seconds: float
    where: str = "here"


def repro(
    workspace: Workspace,
    stage: str,
    *options: str,
    on_line: OnLine = ignore,
    timeout_s: float | None = None,
) -> Outcome:
    """Bring a stage up to date.

    Args:
        workspace: where.
        stage: its name.
        options: of `dvc repro`, such as `--single-item`.
        on_line: gets what DVC and the stage write.
        timeout_s: of the whole.

    Raises:
        StageFailed: the stage says no; trying again is useless.
        Unavailable: something around it failed.
    """
    state = State.UNCHANGED

    def watch(line: str) -> None:
        nonlocal state
        state = _state(line, stage) or state
        on_line(line)

    started = time.monotonic()
    finished = workspace.try_dvc("repro", *options, stage, on_line=watch, timeout_s=timeout_s)
    if finished.code != 0:
        raise explain(f"stage {stage}", finished)
    return Outcome(stage, state, time.monotonic() - started)


def refusing(workspace: Workspace) -> Workspace:
    """The same place, where nothing can be computed: DVC runs commands by the program in `SHELL`, here `false`."""
    return Workspace(workspace.root, {**workspace.environment, "SHELL": shutil.which("false") or "/bin/false"})


class NotRestored(Unavailable):
    """The run-cache has no result for a stage's present inputs, or not all of its files."""


def restore(workspace: Workspace, stage: str, *options: str, on_line: OnLine = ignore) -> Outcome:
    """Bring a stage up to date from caches alone: nothing is computed, whatever DVC would like to do.

    Raises:
        NotRestored: it would have to be computed.
        Unavailable: a remote does not answer.
    """
    try:
        return repro(refusing(workspace), stage, *options, on_line=on_line)
    except StageFailed as error:
        if _REFUSED.search(str(error)):
            raise NotRestored(f"stage {stage}: no cache holds its result for the present inputs") from error
        raise


def _state(line: str, stage: str) -> State | None:
    found = _SAID.search(line)
    if found is None or found["stage"] != stage:
        return None
    if found[1] == "Running stage":
        return State.RAN
    if "is cached - skipping run" in found["rest"]:
        return State.CACHED
    return State.UNCHANGED if "didn't change, skipping" in found["rest"] else None
