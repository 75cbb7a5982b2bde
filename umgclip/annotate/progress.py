"""Progress of a run: counts and seconds of the work, a JSON file beside the results, and numbers for displays."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from umgclip.io.atomic import write_json


def _seconds() -> dict[str, float]:
    return defaultdict(float)


def _negative(counts: Counter[str]) -> Counter[str]:
    return Counter({reason: -count for reason, count in counts.items()})


@dataclass
class Tally:
    """Counts of the work since the previous tally.

    Attributes:
        images: samples that are finished, annotated or not.
        failed: samples that went to the quarantine, by reason.
        lost: those of them that `annotate.max_failed` counts, by reason.
        examples: one lost sample for each reason, `KEY: what happened`.
        seconds: seconds in which models worked, by role.
        asked: rows that a model answered, by role; the others came from the store.
        regions: regions that a role found or received, by role.
    """

    images: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=_seconds)
    asked: Counter[str] = field(default_factory=Counter)
    regions: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the counts of another tally to this one."""
        self.images += other.images
        self.lost.update(other.lost)
        self.examples = {**other.examples, **self.examples}
        self.failed.update(other.failed)
        self.asked.update(other.asked)
        self.regions.update(other.regions)
        for role, value in other.seconds.items():
            self.seconds[role] = self.seconds.get(role, 0.0) + value

    def taken_back(self) -> Tally:
        """Return a tally that cancels the counts of samples that are done again, but not the work on them."""
        return Tally(-self.images, _negative(self.failed), _negative(self.lost))


@runtime_checkable
class Report(Protocol):
    """A receiver of counts. Engines call it from one thread; it may end the run by raising an exception."""

    def add(self, tally: Tally) -> None:
        """Add the counts of work that was just done."""
        ...

    def workers(self, alive: int) -> None:
        """Set how many workers are alive now."""
        ...


_EVERY_S = 1.0
_WINDOW_S = 60.0  # time over which rates are measured


class RunProgress:
    """Counts, rates and the remaining time of a run; shards that were done before add counts alone."""

    def __init__(
        self, total: int, path: Path, advance: Callable[[int], None], watch: Callable[[Mapping[str, float]], None]
    ) -> None:
        """Start the clock with nothing done.

        Args:
            total: number of images.
            path: the JSON file, replaced once a second at most.
            advance: called with the number of images that were done; negative where some are done again.
            watch: called with the numbers whenever the file is written.
        """
        self.done = Tally()
        self._total, self._path, self._advance, self._watch = total, path, advance, watch
        self._workers = 0
        self._started, self._written = time.monotonic(), 0.0
        self._began = _now()
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, tally: Tally) -> None:
        """Add the counts of work that was just done, and write the file if it is a second old."""
        self.done.add(tally)
        if tally.images:
            self._advance(tally.images)
        if time.monotonic() - self._written >= _EVERY_S:
            self.write()

    def workers(self, alive: int) -> None:
        """Set how many workers are alive now."""
        self._workers = alive

    def write(self, finished: bool = False) -> None:
        """Write the progress file, and pass its numbers on."""
        now = self._written = time.monotonic()
        self._seen.append((now, self.done.images))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        state = self._state(finished)
        write_json(self._path, state)
        self._watch(_numbers(state))

    def _state(self, finished: bool) -> dict[str, Any]:
        (first, before), (last, done) = self._seen[0], self._seen[-1]
        rate = (done - before) / (last - first) if last > first else 0.0
        roles = {
            role: {
                "rows": count,
                "seconds": round(self.done.seconds.get(role, 0.0), 3),
                "rows_per_s": _per(count, self.done.seconds.get(role, 0.0)),
                "regions": self.done.regions[role],
                "regions_per_s": _per(self.done.regions[role], self.done.seconds.get(role, 0.0)),
            }
            for role, count in sorted(self.done.asked.items())
        }
        return {
            "stage": "annotate",
            "began": self._began,
            "updated": _now(),
            "finished": finished,
            "elapsed_s": round(time.monotonic() - self._started, 1),
            "eta_s": round((self._total - done) / rate, 1) if rate > 0 else None,
            "images": {"done": done, "total": self._total, "per_s": round(rate, 3)},
            "failed": {reason: count for reason, count in sorted(self.done.failed.items()) if count},
            "workers": self._workers,
            "roles": roles,
        }


def _numbers(state: Mapping[str, Any]) -> dict[str, float]:
    values = {
        "images": float(state["images"]["done"]),
        "images_per_s": state["images"]["per_s"],
        "failed": float(sum(state["failed"].values())),
        "workers": float(state["workers"]),
    }
    for role, one in state["roles"].items():
        values[f"{role}.rows_per_s"] = one["rows_per_s"]
        values[f"{role}.regions_per_s"] = one["regions_per_s"]
    return values


def _per(count: int, seconds: float) -> float:
    return round(count / seconds, 3) if seconds > 0 else 0.0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_T = TypeVar("_T")


class Clock:
    """Sums of seconds by name; each name is used by one thread."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to a name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere."""
        self._spent[name] = self._spent.get(name, 0.0) + seconds

    def each(self, name: str, items: Iterator[_T]) -> Iterator[_T]:
        """Yield the items, and add the seconds that each takes to come."""
        while True:
            with self.on(name):
                item = next(items, None)
            if item is None:
                return
            yield item

    def read(self) -> dict[str, float]:
        """Return the seconds of each name so far, to the millisecond."""
        return {name: round(value, 3) for name, value in sorted(self._spent.items())}

    def total(self) -> float:
        """Return the seconds since the clock was made, to the millisecond."""
        return round(time.perf_counter() - self._started, 3)
