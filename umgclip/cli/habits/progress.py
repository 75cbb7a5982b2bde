"""Progress on stderr: a bar on a terminal, a line every ten seconds in logs; never silent while a command works.

A `StageProgress` counts to a total. A thread of the running command, the `Pulse`, keeps the time up to date and shows
the step that the stage names by `umgclip.stage.begin`, also where nothing is counted.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from umgclip import stage
from umgclip.cli.habits import output
from umgclip.safe_text import printable

LINE_EVERY_S = 10.0
_TICK_S = 1.0
_PATIENCE_S = 2.0  # commands that end sooner show no line of their own on a terminal
_TALKS_ITSELF = ("serve", "init")
_KNOWN = "{n_fmt}/{total_fmt} ({percentage:.0f} %) in {elapsed}, {remaining} to go, {rate_fmt}{postfix}"
_UNKNOWN = "{n_fmt} in {elapsed}, {rate_fmt}{postfix}"
_log = logging.getLogger("umgclip")


class StageProgress:
    """Progress of a count to `total` (None if unknown), shown on `stream`; call `close` at the end."""

    def __init__(self, label: str, total: int | None, unit: str, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._label, self._total, self._unit = label, total, unit
        self._done, self._note, self._step = 0, "", ""
        self._started = self._told = time.monotonic()
        self._lock = threading.RLock()
        self._silent = output.current().quiet
        self._bar: Any = None
        if self._stream.isatty() and total != 0 and not self._silent:
            from tqdm import tqdm

            PULSE.clear()
            colour = None if os.environ.get("NO_COLOR") else "green"
            self._bar = tqdm(total=total, desc=label, unit=unit, file=self._stream, colour=colour, **_width())
        PULSE.bars.append(self)

    @property
    def active(self) -> bool:
        """True if there is something left to count."""
        return self._total is None or self._done < self._total

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Add to the count, and show some values next to it."""
        with self._lock:
            self._done += count
            if values:
                self._note = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
            if self._bar is not None:
                self._bar.set_postfix_str(self._beside(), refresh=False)
                self._bar.update(count)
            elif time.monotonic() - self._told >= LINE_EVERY_S:
                self._line()

    def show_step(self, step: str) -> None:
        """Show a step beside the count, from now on."""
        with self._lock:
            self._step = step
            if self._bar is not None:
                self._bar.set_postfix_str(self._beside())

    def tick(self) -> None:
        """Bring the time up to date; in a log, write a line if the last one is ten seconds old."""
        with self._lock:
            if self._bar is not None:
                self._bar.refresh()
            elif time.monotonic() - self._told >= LINE_EVERY_S:
                self._line()

    def close(self) -> None:
        """Close the bar, or write the last line of a log; nothing is written if there was no work."""
        with self._lock:
            if self in PULSE.bars:
                PULSE.bars.remove(self)
            if self._bar is not None:
                self._bar.close()
            elif self._total != 0 or self._done:
                self._line()

    def _beside(self) -> str:
        return ", ".join(part for part in (self._step, self._note) if part)

    def _line(self) -> None:
        self._told = time.monotonic()
        if self._silent:
            return
        from tqdm import tqdm

        meter = tqdm.format_meter(
            self._done,
            self._total,  # type: ignore[arg-type]  # None is allowed
            self._told - self._started,
            unit=self._unit,
            postfix=self._beside(),
            bar_format=_KNOWN if self._total is not None else _UNKNOWN,
        )
        self._stream.write(f"{self._label}: {printable(meter)}\n")
        self._stream.flush()
        PULSE.told = self._told


class Pulse:
    """Thread that shows what the running command does, at least every ten seconds, until `end`.

    Attributes:
        bars: what is counted; the last one that has something left is shown.
        told: when something was last shown in a log, in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.bars: list[StageProgress] = []
        self.told = 0.0
        self._step, self._since, self._began = "", 0.0, 0.0
        self._counted: StageProgress | None = None
        self._ended: threading.Event | None = None
        self._line: Any = None
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Start for a command; processes of a training other than the first, and quiet commands, show nothing."""
        self.bars, self._counted = [], None
        self._step, self._began = "", time.monotonic()
        self._since = self.told = self._began
        stage.listen(self._on_step)
        if os.environ.get("RANK", "0") != "0":
            return
        self._ended = threading.Event()
        threading.Thread(target=self._beat, args=(self._ended,), name="umgclip-progress", daemon=True).start()

    def end(self) -> None:
        """Stop, and remove what is on the terminal; calling it twice does no harm."""
        stage.listen(None)
        self._close_step()
        if self._ended is not None:
            self._ended.set()
            self._ended = None
        self.clear()

    def clear(self) -> None:
        """Remove the line about the step from the terminal, before something else is written there."""
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line = None
            self.told = time.monotonic()

    def _on_step(self, step: str, total: int | None, unit: str) -> stage.Advance:
        self._close_step()
        self._step, self._since = step, time.monotonic()
        if total is None:
            for bar in self.bars:
                bar.show_step(step)
            return lambda _count: None
        self._counted = StageProgress(f"{self._label()}, {step}", total, f" {unit}")
        return self._counted.advance

    def _close_step(self) -> None:
        if self._counted is not None:
            self._counted.close()
            self._counted = None
        if self._step:
            _log.debug("%s: %s took %.2f s", self._label(), self._step, time.monotonic() - self._since)
            self._step = ""

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(_TICK_S):
            if output.current().quiet or output.current().command in _TALKS_ITSELF:
                continue
            active = [bar for bar in list(self.bars) if bar.active]
            if active:
                active[-1].tick()
                continue
            with self._lock:
                if not ended.is_set():
                    self._tell()

    def _tell(self) -> None:
        """Show the step and for how long it has gone on."""
        now = time.monotonic()
        since = self._since if self._step else self._began
        minutes, seconds = divmod(int(now - since), 60)
        text = printable(f"{self._label()}: {self._step or 'starting'}, {minutes:02d}:{seconds:02d} so far")
        if sys.stderr.isatty():
            if now - self.told >= _PATIENCE_S:
                from tqdm import tqdm

                if self._line is None:  # an empty bar is neither true nor false
                    self._line = tqdm(bar_format="{desc}", leave=False, file=sys.stderr, **_width())
                self._line.set_description_str(text)
        elif now - self.told >= LINE_EVERY_S:
            self.told = now
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _label(self) -> str:
        return output.current().command or "umgclip"


def _width() -> dict[str, Any]:
    """Return how wide bars are: as the terminal is, also when that changes; some in containers have no width."""
    try:
        known = os.get_terminal_size(2).columns > 0
    except OSError:
        known = False
    return {"dynamic_ncols": True} if known else {"ncols": shutil.get_terminal_size().columns, "nrows": 24}


PULSE = Pulse()
"""The pulse of the command that runs in this process."""
