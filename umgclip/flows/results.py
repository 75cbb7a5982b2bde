"""Results of a pipeline run as rows and text: metrics against the champion, the registration decision, links."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from umgclip.errors import TrackingError
from umgclip.flows.dvc.evidence import REVIEW_FOLDERS
from umgclip.flows.dvc.repro import Outcome
from umgclip.params import RegisterParams, load_section
from umgclip.register.gates import flatten_metrics
from umgclip.tracking import Run, bounded, explained, store_from_env

METRICS = "metrics/evaluate.json"
REGISTRATION = "artifacts/register/register.json"
_DIGITS = 4


@dataclass(frozen=True)
class Champion:
    """The champion model and its metrics before the run."""

    version: str
    metrics: Mapping[str, float]


def read_champion(root: Path, params: Path) -> Champion | None:
    """Return the current champion, or None if there is none.

    Args:
        root: folder of MLflow's embedded store, used if no server is set.
        params: the parameter file, which names the model.

    Raises:
        ParamsError: the parameter file is invalid.
        TrackingError: MLflow does not answer.
    """
    from umgclip.register.registry import CHAMPION, Registry, evidence_of

    store = store_from_env(root)
    with explained(store), bounded():
        version = Registry(store.client(), load_section(params, RegisterParams).name).by_alias(CHAMPION)
    return None if version is None else Champion(str(version.version), evidence_of(version).tuned)


def metric_rows(root: Path, champion: Champion | None) -> list[dict[str, Any]]:
    """Return one row per metric: base, tuned, champion, and the gain of tuned over the champion."""
    path = root / METRICS
    if not path.is_file():
        return []
    report = json.loads(path.read_text(encoding="utf-8"))
    base, tuned = flatten_metrics(report.get("base", {})), flatten_metrics(report.get("tuned", {}))
    name = "champion" if champion is None else f"champion v{champion.version}"
    rows = []
    for metric, value in tuned.items():
        before = None if champion is None else champion.metrics.get(metric)
        row = {"metric": metric, "base": base.get(metric), "tuned": value, name: before}
        gain = None if before is None else value - before
        rows.append({**{key: _rounded(cell) for key, cell in row.items()}, "gain": _rounded(gain)})
    return rows


def stage_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return one row per stage: its state, where it ran, and its duration in seconds."""
    return [
        {"stage": outcome.stage, "state": str(outcome.state), "where": outcome.where, "seconds": round(outcome.seconds)}
        for outcome in outcomes
    ]


def registration(root: Path) -> dict[str, Any] | None:
    """Return the report that the stage `register` wrote, or None without one."""
    path = root / REGISTRATION
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def page(root: Path, run: Run, registered: Mapping[str, Any] | None) -> str:
    """Return a Markdown page with the registered version, the decision, and links to runs and pages."""
    url = _address(run)
    lines = [f"* MLflow run: {f'[{run.run_id}]({url})' if url else f'`{run.run_id}` in {run.store.name}'}"]
    if registered is not None:
        reason = registered.get("gates", {}).get("reason", "")
        lines.append(f"* version: {registered.get('name')} v{registered.get('version')}; {reason}")
        lines.append(f"* aliases: {', '.join(f'{k} v{v}' for k, v in registered.get('aliases', {}).items())}")
    for folder, shown in REVIEW_FOLDERS.items():
        if shown.first and (root / shown.path).is_dir():  # the MLflow run has a copy that other machines can open
            there = f"artifacts/{folder}/{shown.first}"
            link = f"[{folder}]({url}/{there})" if url else f"`{there}` of the run"
            lines.append(f"* {folder.replace('_', ' ')}: {link}")
    return "\n".join(lines)


def _address(run: Run) -> str | None:
    """Return the URL of the run's page in MLflow's UI, without a password; None without a server."""
    parts = urlsplit(run.store.uri)
    if parts.scheme not in ("http", "https"):
        return None
    try:
        with explained(run.store), bounded():
            experiment = run.store.client().get_run(run.run_id).info.experiment_id
    except TrackingError:
        return None
    server = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    return f"{server}/#/experiments/{experiment}/runs/{run.run_id}"


def _rounded(value: Any) -> Any:  # noqa: ANN401 - a table cell
    return round(value, _DIGITS) if isinstance(value, float) else value
