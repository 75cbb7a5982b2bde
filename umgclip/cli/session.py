"""Services for a running stage: its MLflow run, progress bars, the numbers of its metrics file, its summary."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from umgclip.cli import terminal
from umgclip.cli.habits.progress import StageProgress
from umgclip.cli.lines import notice
from umgclip.cli.terminal import Sheet
from umgclip.errors import InputError
from umgclip.io import locks as locks_of
from umgclip.io.atomic import Ours, require_replaceable
from umgclip.params import Section, overrides
from umgclip.stage import Summary
from umgclip.tracking import Run, stage_run

Advance = Callable[[int], None]
Report = Callable[[int, Mapping[str, float]], None]
Watch = Callable[[Mapping[str, float]], None]
_LOG_EVERY_S = 10.0
_PIPELINE = Path("dvc.yaml")


class Session:
    """Progress bars and the MLflow run of a running stage; `run` is None if nothing is tracked."""

    def __init__(self, name: str, run: Run | None, bars: ExitStack) -> None:
        self._name, self._run, self._bars = name, run, bars

    def counter(self, total: int | None, unit: str = " images") -> Advance:
        """Open a progress bar to `total`, if known; return a function that takes the number of items just done."""
        return self._bar(total, unit).advance

    def steps(self, total: int) -> Report:
        """Open a progress bar of optimizer steps; return a function that logs a step and its values to MLflow."""
        bar = self._bar(total, " steps")

        def report(step: int, values: Mapping[str, float]) -> None:
            if self._run is not None:
                self._run.log_metrics(values, step)
            bar.advance(1, values)

        return report

    def keep(self, path: Path) -> None:
        """Copy a file or a folder to the run in MLflow."""
        if self._run is not None:
            self._run.log_artifact(path)

    def watched(self, total: int, unit: str = " images") -> tuple[Advance, Watch]:
        """Open a progress bar with live numbers; return a function for counts and one for values by name.

        The values go to MLflow every ten seconds, with the number of images done as the step.
        """
        bar = self._bar(total, unit)
        logged = time.monotonic()

        def watch(values: Mapping[str, float]) -> None:
            nonlocal logged
            bar.advance(0, {name: values[name] for name in ("failed", "workers") if name in values})
            if self._run is not None and time.monotonic() - logged >= _LOG_EVERY_S:
                logged = time.monotonic()
                self._run.log_metrics({f"live.{k}": v for k, v in values.items()}, int(values.get("images", 0)))

        return bar.advance, watch

    def _bar(self, total: int | None, unit: str) -> StageProgress:
        bar = StageProgress(self._name, total, unit)
        self._bars.callback(bar.close)
        return bar


@contextmanager
def tracked(name: str, section: Section, metrics: Path | None = None) -> Iterator[Session]:
    """Run a stage inside an MLflow run.

    Args:
        name: name of the stage.
        section: its parameters, which are logged.
        metrics: the JSON file that the stage writes; its numbers are logged even if the stage then fails at a gate.

    Raises:
        TrackingError: MLflow does not answer or refuses.
    """
    changed = ", ".join(map(str, overrides.active()))
    tags = {"umgclip.set": changed} if changed else {}
    with stage_run(name, section.model_dump(), tags=tags) as run, ExitStack() as bars:
        before = _stamp(metrics)
        try:
            yield Session(name, run, bars)
        finally:
            if metrics is not None and _stamp(metrics) not in (None, before):
                run.log_metrics(numbers(json.loads(metrics.read_text(encoding="utf-8"))))


@contextmanager
def untracked(name: str) -> Iterator[Session]:
    """Provide a session without an MLflow run, for work that has none or opens its own."""
    with ExitStack() as bars:
        yield Session(name, None, bars)


@contextmanager
def for_one_of_many(name: str, section: Section, first: bool) -> Iterator[Session]:
    """Track the first of several processes that share one task; the others show and log nothing."""
    with tracked(name, section) if first else untracked(name) as opened:
        yield opened if first else Silent(name)


class Silent(Session):
    """Session that logs nothing to MLflow and shows no steps."""

    def __init__(self, name: str) -> None:
        super().__init__(name, None, ExitStack())

    def steps(self, _total: int) -> Report:
        """Return a function that ignores steps and their values."""
        return lambda _step, _values: None


def _stamp(path: Path | None) -> int | None:
    return path.stat().st_mtime_ns if path is not None and path.is_file() else None


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten the numbers of nested metrics to dotted names: `{"a": {"b": 1, "c": "x"}}` gives `{"a.b": 1.0}`."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(numbers(value, f"{prefix}{name}."))
        elif isinstance(value, int | float):
            flat[f"{prefix}{name}"] = float(value)
    return flat


def check_output(out: Path, reads: Sequence[Path], ours: Ours | None = None) -> None:
    """Refuse an output folder if replacing it would delete anything that this package did not write.

    Args:
        out: the folder.
        reads: paths that the command reads.
        ours: as for `umgclip.io.atomic.require_replaceable`.

    Raises:
        InputError: the folder holds something else; the message names both.
    """
    for path in (Path.cwd(), *reads):
        if path.resolve().is_relative_to(out.resolve()):
            raise InputError(
                f"--out: expected a folder for this output alone, because it is replaced; {out} contains "
                f"{path.resolve()}; choose another folder"
            )
    require_replaceable(out, ours)
    _tell_untracked(out)


def _tell_untracked(out: Path) -> None:
    """Say that DVC's record will not match, if values of `--set` go into an output of the pipeline."""
    changed = overrides.active()
    if not changed or os.environ.get("DVC_STAGE") or not _PIPELINE.is_file():
        return
    stages = YAML(typ="safe").load(_PIPELINE.read_text(encoding="utf-8")).get("stages") or {}
    listed = [
        one if isinstance(one, str) else next(iter(one)) for each in stages.values() for one in each.get("outs") or []
    ]
    if any(Path(path).resolve() == out.resolve() for path in listed if "${" not in path):
        words = " ".join(f"-S '{one}'" for one in changed)
        notice(
            f"--set: {out} is an output of {_PIPELINE}, and dvc.lock will not match it: `dvc repro` makes it again "
            f"from the parameter file. The tracked way is: dvc exp run {words}. --out and --metrics write elsewhere"
        )


@contextmanager
def only_writer(*outputs: Path) -> Iterator[None]:
    """Keep other commands from writing these outputs until the block ends.

    Raises:
        InputError: another command is writing one of them.
        OutputError: a lock file cannot be created there.
    """
    with ExitStack() as locks:
        for output in outputs:
            locks.enter_context(locks_of.only_writer(output))
        yield


def show(*summaries: Summary, under: str | None = None, out: Path | None = None, metrics: Path | None = None) -> None:
    """Print summaries as tables on stdout, or as one document with `--json`.

    Args:
        summaries: what was done.
        under: name of the list in the document, for a command whose number of summaries varies.
        out: what the command wrote, for the document.
        metrics: JSON file that it wrote, whose content becomes part of the document.
    """
    written: dict[str, Any] = {} if out is None else {"out": str(out)}
    if metrics is not None and metrics.is_file():
        written["metrics"] = json.loads(metrics.read_text(encoding="utf-8"))
    changed = overrides.active()
    if changed:
        written["set"] = {one.key: one.value for one in changed}
    documents = [_document(summary, {} if under else written) for summary in summaries]
    if under is not None:
        terminal.show(*map(_sheet, summaries), document={under: documents, **written})
        return
    for summary, document in zip(summaries, documents, strict=True):
        terminal.show(_sheet(summary, changed), document=document)


def _document(summary: Summary, written: Mapping[str, Any]) -> dict[str, Any]:
    rows = [{"name": name, "value": value} for name, value in summary.rows]
    return {"title": summary.title, "rows": rows, **summary.facts, **written}


def _sheet(summary: Summary, changed: Sequence[overrides.Override] = ()) -> Sheet:
    sheet = Sheet(title=summary.title, show_header=False)
    for name, value in summary.rows:
        sheet.add_row(name, value)
    for one in changed:
        sheet.add_row(overrides.OPTION, one.in_words())
    return sheet
