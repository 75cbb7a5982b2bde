"""Predict what a run would do with each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from umgclip.flows.dvc.failures import explain
from umgclip.flows.dvc.graph import Graph
from umgclip.flows.dvc.workspace import Workspace

RUNS = "run"
NOTHING = "nothing: up to date"
_SHOWN = 3


def forecast(workspace: Workspace, graph: Graph, *, force: bool) -> dict[str, str]:
    """Return what a run would do with each stage, and why; it does not check whether a cache has the result.

    Raises:
        StageFailed, Unavailable: `dvc status` failed.
    """
    finished = workspace.try_dvc("status", "--json")
    if finished.code != 0:
        raise explain("dvc status", finished)
    listed = next((line for line in reversed(finished.lines) if line.startswith("{")), "{}")
    changed: Mapping[str, Any] = json.loads(listed)
    stale = {stage.name for stage in graph.stages if stage.name in changed}
    following = graph.after(stale)
    if force:
        return {stage.name: f"{RUNS}: forced" for stage in graph.stages}
    return {stage.name: _say(changed.get(stage.name), follows=stage.name in following) for stage in graph.stages}


def _say(changes: list[Any] | None, *, follows: bool) -> str:
    if changes:
        return f"{RUNS}: {'; '.join(_reason(change) for change in changes)}"
    return f"{RUNS}, if a stage before it changes its inputs" if follows else NOTHING


def _reason(change: Any) -> str:  # noqa: ANN401 - a text, or changed items by kind of change
    if not isinstance(change, dict):
        return str(change)
    return ", ".join(f"{kind}: {_few(list(items))}" for kind, items in change.items())


def _few(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"
