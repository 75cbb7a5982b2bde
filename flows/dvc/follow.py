"""Nodes of a stage beside the first: they run its command, and DVC knows nothing of them."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

from flows.dvc.failures import Unavailable, explain
from flows.dvc.graph import Stage
from flows.dvc.process import CommandSettings, OnLine, ignore, run
from flows.dvc.repro import Outcome, StageState
from flows.dvc.workspace import Workspace


def follow(workspace: Workspace, stage: Stage, on_line: OnLine = ignore, timeout_s: float | None = None) -> Outcome:
    """Run a stage's command as one node of several; what it writes, if anything, is nobody's result.

    Raises:
        StageFailed: the stage says no.
        Unavailable: another node was lost, or something around the stage failed.
    """
    started = time.monotonic()
    shell = shutil.which("sh") or "/bin/sh"
    try:
        finished = run(
            [shell, "-c", stage.cmd], CommandSettings(workspace.root, workspace.environment, timeout_s), on_line
        )
    except TimeoutError as error:
        raise Unavailable(f"stage {stage.name}: {error}") from error
    if finished.code != 0:
        said = f"failed to run: {stage.cmd}, exited with {finished.code}"  # as DVC says it
        raise explain(f"stage {stage.name}", replace(finished, lines=(*finished.lines, said)))
    return Outcome(stage.name, StageState.RAN, time.monotonic() - started)
