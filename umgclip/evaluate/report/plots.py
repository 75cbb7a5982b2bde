"""CSV tables for DVC plots, with one row per bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from umgclip.evaluate.suite import PROTOCOLS, Suite
from umgclip.io.spreadsheet import write_csv


def write(folder: Path, metrics: Mapping[str, Any], suites: Sequence[Suite]) -> None:
    """Write the CSV files into a new folder.

    `BENCHMARK.csv` (model, metric, value), `annotator.csv` (metric, value), `region_per_class.csv` (model, readout,
    class, held_out, regions, top1) and `singles_confusion.csv` (model, actual, predicted; one row per image). All files
    are always written; a benchmark without results has no rows. Class names that begin like a formula get a leading
    `'`, so that a spreadsheet shows them.
    """
    folder.mkdir()
    for benchmark in PROTOCOLS:
        rows = (
            (suite.name, metric, value)
            for suite in suites
            for metric, value in metrics[suite.name].get(benchmark, {}).items()
        )
        write_csv(folder / f"{benchmark}.csv", ("model", "metric", "value"), rows)
    write_csv(folder / "annotator.csv", ("metric", "value"), metrics["annotator"].items())
    write_csv(
        folder / "region_per_class.csv",
        ("model", "readout", "class", "held_out", "regions", "top1"),
        (row for suite in suites for row in _per_class(suite)),
    )
    write_csv(
        folder / "singles_confusion.csv",
        ("model", "actual", "predicted"),
        (row for suite in suites if "classification" in metrics[suite.name] for row in _confusion(suite)),
    )


def _per_class(suite: Suite) -> Iterable[tuple[str, str, str, int, int, float]]:
    held_out = suite.reader.classes.held_out
    for readout in suite.region.readouts:
        for name, regions, top1 in suite.region.per_class(readout):
            yield suite.name, readout, name, int(name in held_out), regions, round(top1, 6)


def _confusion(suite: Suite) -> Iterable[tuple[str, str, str]]:
    names = suite.reader.classes.things
    scores, target = suite.classification.scores()
    for actual, predicted in zip(target, scores.argmax(1), strict=True):
        yield suite.name, names[actual], names[predicted]
