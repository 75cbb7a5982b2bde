"""Progress on stderr: a bar on a terminal, a line every ten seconds in logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from tqdm import tqdm

LINE_EVERY_S = 10.0
_KNOWN = "{n_fmt}/{total_fmt} ({percentage:.0f} %) in {elapsed}, {remaining} to go, {rate_fmt}{postfix}"
_UNKNOWN = "{n_fmt} in {elapsed}, {rate_fmt}{postfix}"


class StageProgress:
    """Progress of a count to `total` (None if unknown), shown on `stream`; call `close` at the end."""

    def __init__(self, label: str, total: int | None, unit: str, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._label, self._total, self._unit = label, total, unit
        self._done, self._note = 0, ""
        self._started = self._said = time.monotonic()
        shown = self._stream.isatty() and total != 0
        self._bar = tqdm(total=total, desc=label, unit=unit, file=self._stream) if shown else None

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Add to the count, and show some values next to it."""
        self._done += count
        if values:
            self._note = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._said >= LINE_EVERY_S:
            self._line()

    def close(self) -> None:
        """Close the bar, or write the last line of a log; nothing is written if there was no work."""
        if self._bar is not None:
            self._bar.close()
        elif self._total != 0 or self._done:
            self._line()

    def _line(self) -> None:
        self._said = time.monotonic()
        meter = tqdm.format_meter(
            self._done,
            self._total,  # type: ignore[arg-type]  # None is allowed
            self._said - self._started,
            unit=self._unit,
            postfix=self._note,
            bar_format=_KNOWN if self._total is not None else _UNKNOWN,
        )
        self._stream.write(f"{self._label}: {meter}\n")
        self._stream.flush()
