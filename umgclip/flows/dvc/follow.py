"""Run a stage's command on the nodes other than the first, without DVC."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

from umgclip.flows.dvc.failures import Unavailable, explain
from umgclip.flows.dvc.graph import Stage
from umgclip.flows.dvc.process import CommandSettings, OnLine, ignore, run
from umgclip.flows.dvc.repro import Outcome, StageState
from umgclip.flows.dvc.workspace import Workspace


def follow(workspace: Workspace, stage: Stage, on_line: OnLine = ignore, timeout_s: float | None = None) -> Outcome:
    """Run a stage's command as one node of several; its output files are not used.

    Raises:
        StageFailed: the stage failed.
        Unavailable: another node was lost, or the infrastructure failed.
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
        line = f"failed to run: {stage.cmd}, exited with {finished.code}"  # DVC's wording, which `explain` parses
        raise explain(f"stage {stage.name}", replace(finished, lines=(*finished.lines, line)))
    return Outcome(stage.name, StageState.RAN, time.monotonic() - started)
