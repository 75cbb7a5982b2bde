"""Work on parts of many things each, in processes of which any may die over one of the things.

A part whose process died is begun again. Its process says how many things it has done, so the one that it died over is
known, unless it had begun some ahead, which it then does no more. A thing over which two died is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from umgclip.errors import UmgclipError
from umgclip.io.crew import DoJob, Orders, Recruit, Tell, manner_of_death, run_crew

ATTEMPTS = 2  # deaths over a thing before it is left out
MOST_DEATHS = 40  # in one run
P = TypeVar("P")
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Deaths:
    """Positions in a part at which processes died: items done by then, and how each process ended."""

    over: tuple[tuple[int, str], ...] = ()

    def and_one(self, done: int, manner: str) -> Deaths:
        """Return these deaths and one more."""
        return Deaths((*self.over, (done, manner)))

    def times(self, number: int) -> int:
        """Return the number of deaths over the item of this number, counted from 0."""
        return Counter(done for done, _ in self.over)[number]

    def left_out(self) -> dict[int, str]:
        """Things that are not touched any more, and why, in words."""
        return {
            done: f"the process that worked on it died {ATTEMPTS} times, by {manner}"
            for done, manner in self.over
            if self.times(done) >= ATTEMPTS
        }


@dataclass(frozen=True)
class _Job(Generic[P]):
    """A part, its number, and where processes died over it before."""

    number: int
    part: P
    deaths: Deaths = Deaths()


def run_parts(  # noqa: PLR0913 - one part, all parts, and who does them
    do_part: Callable[[P, Advance, Deaths], None],
    parts: Sequence[P],
    workers: int,
    advance: Advance,
    hint: str,
    early: Recruit | None = None,
) -> None:
    """Do all parts, each in one of several processes.

    Args:
        do_part: picklable; called with a part, what to call with 1 before the next thing is touched, and the deaths.
        parts: picklable.
        workers: processes.
        advance: called with the number of things done since the last call; below 0 for those that are done again.
        hint: which command this is and what may be done, `import: less memory ...`, for the error.
        early: a process that was started before, to be the first one.

    Raises:
        UmgclipError: processes die over and over.
        Exception: what `do_part` raised.
    """
    jobs = [_Job(number, part) for number, part in enumerate(parts)]
    watch: _Watch[P] = _Watch(advance, hint)
    run_crew(jobs, workers, Orders(partial(_worker, do_part), watch.hear, watch.lost), early)


def _worker(do_part: Callable[[P, Advance, Deaths], None]) -> DoJob[_Job[P]]:
    def do_job(job: _Job[P], tell: Tell) -> None:
        do_part(job.part, tell, job.deaths)

    return do_job


class _Watch(Generic[P]):
    """Counter of finished images that decides how a part goes on whose process died."""

    def __init__(self, advance: Advance, hint: str) -> None:
        self._advance, self._hint = advance, hint
        self._done: Counter[int] = Counter()
        self._deaths = 0

    def hear(self, job: _Job[P], count: int) -> None:
        self._done[job.number] += count
        self._advance(count)

    def lost(self, job: _Job[P], exitcode: int | None) -> _Job[P]:
        """Record a death, and return the part to begin again.

        Raises:
            UmgclipError: it was begun often enough.
        """
        done, manner = self._done.pop(job.number, 0), manner_of_death(exitcode)
        self._advance(-done)
        self._deaths += 1
        deaths = job.deaths.and_one(done, manner)
        # what is left out cannot end a process: something else does
        if deaths.times(done) > ATTEMPTS + 1 or self._deaths > MOST_DEATHS:
            raise UmgclipError(
                f"{self._hint} ({self._deaths} worker processes died, the last by {manner} after {done} images of "
                f"{job.part}; what is done is kept)"
            )
        return replace(job, deaths=deaths)
