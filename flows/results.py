"""What a pipeline run found, as rows and text: metrics against the champion, what registration decided, links."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from flows import engine
from flows.dvc.repro import Outcome
from umgclip.errors import TrackingError, UmgclipError
from umgclip.params import RegisterParams, load_section
from umgclip.register.gates import flatten_metrics
from umgclip.tracking import Run, bounded, explained, store_from_env

METRICS = "metrics/evaluate.json"
REGISTRATION = "artifacts/register/register.json"
_DIGITS = 4
_UPLOAD_S = 120
_CLOCK_S = 1.0  # by which the times of files may be off


@dataclass(frozen=True)
class Shown:
    """A folder for people to look at, that the run in MLflow gets: who writes it, where, which page to open first."""

    stage: str
    path: str
    first: str = ""


SHOWN = {
    "evaluation": Shown("evaluate", "artifacts/evaluate", "report.html"),
    "data_docs": Shown("validate", "artifacts/data_docs", "index.html"),
    "validate": Shown("validate", "artifacts/validate"),  # the rows in quarantine
}


@dataclass(frozen=True)
class Champion:
    """The model to beat, as it was before the run."""

    version: str
    metrics: Mapping[str, float]


def read_champion(root: Path, params: Path) -> Champion | None:
    """The present champion, None when there is none.

    Args:
        root: where MLflow's embedded store lies, if no server is set.
        params: the parameter file, which names the model.

    Raises:
        ParamsError: the file is wrong.
        TrackingError: MLflow does not answer.
    """
    from umgclip.register.registry import CHAMPION, Registry, evidence_of

    store = store_from_env(root)
    with explained(store), bounded():
        found = Registry(store.client(), load_section(params, RegisterParams).name).by_alias(CHAMPION)
    return None if found is None else Champion(str(found.version), evidence_of(found).tuned)


def metric_rows(root: Path, champion: Champion | None) -> list[dict[str, Any]]:
    """One row a metric: base, tuned, champion, and what tuned gains on the champion."""
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
    """One row a stage: what became of it, where, how long it took."""
    return [
        {"stage": outcome.stage, "state": str(outcome.state), "where": outcome.where, "seconds": round(outcome.seconds)}
        for outcome in outcomes
    ]


def registration(root: Path) -> dict[str, Any] | None:
    """What the stage `register` wrote."""
    path = root / REGISTRATION
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def page(root: Path, run: Run, registered: Mapping[str, Any] | None) -> str:
    """Markdown with the registered version, the decision and links to runs and pages."""
    place = _address(run)
    lines = [f"* MLflow run: {f'[{run.run_id}]({place})' if place else f'`{run.run_id}` in {run.store.name}'}"]
    if registered is not None:
        said = registered.get("gates", {}).get("reason", "")
        lines.append(f"* version: {registered.get('name')} v{registered.get('version')}; {said}")
        lines.append(f"* aliases: {', '.join(f'{k} v{v}' for k, v in registered.get('aliases', {}).items())}")
    for folder, shown in SHOWN.items():
        if shown.first and (root / shown.path).is_dir():  # the run has a copy, which other machines can see
            there = f"artifacts/{folder}/{shown.first}"
            link = f"[{folder}]({place}/{there})" if place else f"`{there}` of the run"
            lines.append(f"* {folder.replace('_', ' ')}: {link}")
    return "\n".join(lines)


class Reached:
    """The stages that a run has come to."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def begins(self, stage: str) -> None:
        """A stage begins here: what it writes is newer than this moment."""
        self._since[stage] = time.time()

    def done(self, stage: str) -> None:
        """A stage is up to date, and so is what it has written, whenever that was."""
        self._since[stage] = 0.0

    def log(self, root: Path, keep: Callable[[Path, str], object]) -> None:
        """Have a run in MLflow keep what these stages show, that of a stage which has failed too.

        Args:
            root: where they ran.
            keep: takes a folder, and where among the run's artifacts it goes.
        """
        for name, shown in SHOWN.items():
            since, path = self._since.get(shown.stage), root / shown.path
            if since is not None and path.is_dir() and path.stat().st_mtime >= since - _CLOCK_S:
                keep(path, name)


@contextmanager
def evidence(root: Path, run_id: str | None, folder: str | None) -> Iterator[Reached]:
    """What fails on a worker leaves its pages in the run that asked for it; the worker's clone may go.

    Args:
        root: where stages run.
        run_id: of the run in MLflow; None: there is none.
        folder: of the run's artifacts, where many orders share the run.
    """
    reached = Reached()
    try:
        yield reached
    except UmgclipError:
        if run_id is not None:
            store = store_from_env(root)
            try:
                with explained(store), bounded(_UPLOAD_S):
                    client = store.client()
                    below = f"{folder}/" if folder else ""
                    reached.log(root, lambda path, name: client.log_artifacts(run_id, str(path), f"{below}{name}"))
            except TrackingError as error:
                engine.log().warning("could not keep the pages of what failed: %s", error)
        raise


def _address(run: Run) -> str | None:
    """The run's page in MLflow's UI, without a password; None where there is no server."""
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


def _rounded(value: Any) -> Any:  # noqa: ANN401 - a cell
    return round(value, _DIGITS) if isinstance(value, float) else value
