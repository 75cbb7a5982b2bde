"""A stage's surroundings: a run in MLflow, progress, the numbers of its metrics file, its summary."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from umgclip.cli import terminal
from umgclip.cli.progress import ProgressBar
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
    """What a running stage may use. `run` is None for what is not tracked."""

    def __init__(self, name: str, run: Run | None, bars: ExitStack) -> None:
        self._name, self._run, self._bars = name, run, bars

    def counter(self, total: int | None, unit: str = " images") -> Advance:
        """A progress bar, to `total` if it is known; call what comes back with the number of things done."""
        return self._bar(total, unit).advance

    def steps(self, total: int) -> Report:
        """A progress bar of optimizer steps; call what comes back with a step and its values, which MLflow gets."""
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
        """A progress bar with a note beside it, and live numbers: the first is told counts, the second values by name.

        MLflow gets the values every ten seconds, by the number of things done.
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

    def _bar(self, total: int | None, unit: str) -> ProgressBar:
        bar = ProgressBar(self._name, total, unit)
        self._bars.callback(bar.close)
        return bar


@contextmanager
def tracked(name: str, section: Section, metrics: Path | None = None) -> Iterator[Session]:
    """Run a stage inside an MLflow run.

    Args:
        name: the stage.
        section: its params, logged.
        metrics: the JSON file that the stage writes; its numbers are logged, also when a gate closed after it was
            written.

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
    """The same for work that leaves no run, or opens its own."""
    with ExitStack() as bars:
        yield Session(name, None, bars)


@contextmanager
def for_one_of_many(name: str, section: Section, first: bool) -> Iterator[Session]:
    """A run and progress for the first of several processes that do one work; the others stay silent."""
    with tracked(name, section) if first else untracked(name) as opened:
        yield opened if first else Silent(name)


class Silent(Session):
    """Shows and logs nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name, None, ExitStack())

    def steps(self, _total: int) -> Report:
        """Nothing is reported."""
        return lambda _step, _values: None


def _stamp(path: Path | None) -> int | None:
    return path.stat().st_mtime_ns if path is not None and path.is_file() else None


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of nested metrics under dotted names: `{"a": {"b": 1, "c": "x"}}` gives `{"a.b": 1.0}`."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(numbers(value, f"{prefix}{name}."))
        elif isinstance(value, int | float):
            flat[f"{prefix}{name}"] = float(value)
    return flat


def check_output(out: Path, reads: Sequence[Path], ours: Ours | None = None) -> None:
    """Refuse an output folder whose replacement would take anything along that this package did not make.

    Args:
        out: the folder.
        reads: what the command reads.
        ours: as for `umgclip.io.atomic.require_replaceable`.

    Raises:
        InputError: naming `out` and what it holds.
    """
    for path in (Path.cwd(), *reads):
        if path.resolve().is_relative_to(out.resolve()):
            raise InputError(f"--out: expected a folder of its own, which is replaced; {out} holds {path.resolve()}")
    require_replaceable(out, ours)


@contextmanager
def only_writer(*outputs: Path) -> Iterator[None]:
    """Keep other commands from writing these outputs until the block ends.

    Raises:
        InputError: another command is writing one of them.
        OutputError: there can be nothing.
    """
    with ExitStack() as locks:
        for output in outputs:
            locks.enter_context(locks_of.only_writer(output))
        yield


def show(summary: Summary) -> None:
    """A summary as a table on stdout."""
    sheet = Sheet(title=summary.title, show_header=False)
    for name, value in summary.rows:
        sheet.add_row(name, value)
    terminal.show(sheet)
