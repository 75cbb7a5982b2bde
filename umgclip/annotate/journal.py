"""Which samples end the process that works on them, told by what a dead worker left behind.

A file beside the shard names the run. A worker that finds it knows that another one died over this shard, and from
then on notes the samples that it takes up before it touches them. A batch that was in work `attempts` times when its
worker died is done image by image; an image that was, is given up.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from umgclip.errors import DataError, UmgclipError
from umgclip.io.places import Place, placed

_MOST_BYTES = 1 << 24
_NOBODY = ""


class Journal:
    """Of one shard."""

    def __init__(self, place: Place, shard: str, run: str, attempts: int) -> None:
        """Nothing is read or written yet.

        Args:
            place: where the shard's results go.
            shard: its name.
            run: name of the run; deaths in others do not count.
            attempts: times that samples may be in work when a worker dies.
        """
        self._place, self._shard, self._name = place, shard, f".{shard}.journal.json"
        self._run, self._attempts = run, attempts
        self._deaths: Counter[str] = Counter()
        self.alert = False

    def open(self) -> None:
        """Begin the shard; `alert` tells whether a worker died over it before.

        Raises:
            UmgclipError: workers died too often while they worked on no sample of it.
        """
        try:
            found = json.loads(self._place.read(self._name, _MOST_BYTES))
        except (DataError, ValueError):
            found = {}
        self.alert = found.get("run") == self._run
        if self.alert:
            self._deaths.update(found["deaths"])
            self._deaths[_name(found["at"])] += 1
        if self._deaths[_NOBODY] > self._attempts:
            raise UmgclipError(
                f"annotate: {self._deaths[_NOBODY]} workers died over {self._place}/{self._shard} before its first "
                "sample or while its results were written; for want of memory or disk?"
            )
        self._write([])

    def take_up(self, keys: Sequence[str]) -> None:
        """Note what comes next, where that can matter."""
        if self.alert:
            self._write(keys)

    def is_deadly(self, keys: Sequence[str]) -> bool:
        """Whether these samples, together, were in work too often."""
        return self._deaths[_name(keys)] >= self._attempts

    def close(self) -> None:
        """The shard is done, or left without harm."""
        self._place.delete(self._name)

    def _write(self, at: Sequence[str]) -> None:
        with placed(self._place, self._name) as temporary:
            state = {"run": self._run, "at": list(at), "deaths": self._deaths}
            temporary.write_text(json.dumps(state), encoding="utf-8")


def _name(keys: Sequence[str]) -> str:
    return f"{keys[0]}+{len(keys)}" if keys else _NOBODY
