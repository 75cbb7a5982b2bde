"""`umgclip report`: the results of a pipeline run as tables, from the files that it left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from umgclip.cli.session import numbers
from umgclip.errors import DataError

BENCHMARKS = ("classification", "retrieval", "tagging", "region", "semantic", "panoptic")


def show_results(evaluation: Path, registration: Path) -> None:
    """Print base against tuned, the annotator's quality and the registered version.

    Raises:
        DataError: no evaluation, or not the file that `evaluate` writes.
    """
    if not evaluation.is_file():
        raise DataError(f"{evaluation}: expected the metrics of `umgclip evaluate`, found none; `dvc repro` makes them")
    metrics = _read(evaluation)
    for name in ("base", "tuned"):
        if not isinstance(metrics.get(name), dict):
            raise DataError(f"{evaluation}: expected metrics of {name!r}, got {sorted(metrics)}")
    console = Console()
    console.print(_comparison(metrics["base"], metrics["tuned"]))
    if metrics.get("annotator"):
        console.print(_annotator(metrics["annotator"]))
    if registration.is_file():
        console.print(_registered(_read(registration)))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _comparison(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> Table:
    table = Table(title="Six benchmarks, shares of 1", title_justify="left")
    table.add_column("benchmark")
    table.add_column("metric")
    for column in ("base", "tuned", "change"):
        table.add_column(column, justify="right")
    for benchmark in BENCHMARKS:
        before, after = numbers(base.get(benchmark, {})), numbers(tuned.get(benchmark, {}))
        for row, (metric, values) in enumerate(_pairs(before, after)):
            table.add_row(benchmark if row == 0 else "", metric, *values)
        table.add_section()
    return table


def _pairs(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for metric in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(metric), after.get(metric)
        change = "" if old is None or new is None else f"{new - old:+.3f}"
        yield metric, (_shown(old), _shown(new), change)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _annotator(quality: Mapping[str, Any]) -> Table:
    table = Table("annotator, against the truth", "value", title_justify="left")
    for name, value in numbers(quality).items():
        table.add_row(name, f"{value:.3f}")
    return table


def _registered(report: Mapping[str, Any]) -> Table:
    aliases = [alias for alias, version in report.get("aliases", {}).items() if version == report.get("version")]
    table = Table("registered model", f"{report.get('name')} version {report.get('version')}")
    table.add_row("aliases", ", ".join(aliases) or "none")
    table.add_row("gates", str(report.get("gates", {}).get("reason", "")))
    table.add_row("MLflow", str(report.get("tracking_uri")))
    return table
