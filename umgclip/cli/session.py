"""Services for a running stage: its MLflow run, progress bars, the numbers of its metrics file, its summary."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from umgclip.cli import terminal
from umgclip.cli.progress import StageProgress
from umgclip.cli.terminal import Sheet
from umgclip.errors import InputError
from umgclip.io import locks as locks_of
from umgclip.io.atomic import Ours, require_replaceable
from umgclip.params import Section
from umgclip.stage import Summary
from umgclip.tracking import Run, stage_run

Advance = Callable[[int], None]
Report = Callable[[int, Mapping[str, float]], None]
Watch = Callable[[Mapping[str, float]], None]
_LOG_EVERY_S = 10.0


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
    with stage_run(name, section.model_dump()) as run, ExitStack() as bars:
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


def show(summary: Summary) -> None:
    """Print a summary as a table on stdout."""
    sheet = Sheet(title=summary.title, show_header=False)
    for name, value in summary.rows:
        sheet.add_row(name, value)
    terminal.show(sheet)
