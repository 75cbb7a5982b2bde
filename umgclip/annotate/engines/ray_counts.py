"""What the workers of a Ray run did, counted in one place; it knows nothing of Ray."""

from __future__ import annotations

from umgclip.annotate.tally import Tally


class Counts:
    """What workers did since the last look, in an actor beside the driver."""

    def __init__(self) -> None:
        self._news = Tally()
        self._told: dict[str, Tally] = {}
        self._deaths: dict[str, int] = {}

    def begin(self, job: str) -> int:
        """A worker takes a job up; gives how often that happened since something of it was done."""
        if job in self._told:  # who had it is dead, or died before Ray heard that it was through
            self._news.add(self._told[job].taken_back())
        self._told[job] = Tally()
        self._deaths[job] = self._deaths.get(job, 0) + 1
        return self._deaths[job]

    def tell(self, job: str, tally: Tally) -> None:
        """Something of a job was done."""
        self._told[job].add(tally)
        self._news.add(tally)
        self._deaths[job] = 0

    def end(self, job: str) -> None:
        """The worker is through with it."""
        self._deaths.pop(job, None)

    def news(self) -> Tally:
        """What was done since this was last asked."""
        news, self._news = self._news, Tally()
        return news
