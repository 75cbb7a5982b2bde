"""A journal of one shard that identifies samples on which worker processes die.

A file beside the shard names the run. A worker that sees this file knows that another worker died over the shard, and
from then on records the samples of a batch before it works on them. A batch that was in work `attempts` times when its
worker died is done image by image; a single image for which that happened is given up.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from umgclip.errors import DataError, UmgclipError
from umgclip.io.places import Place, placed

_MOST_BYTES = 1 << 24
_NOBODY = ""


class ShardJournal:
    """The record of deaths over one shard, and of the samples in work."""

    def __init__(self, folder: Place, shard: str, run: str, attempts: int) -> None:
        """Name the journal's file without reading it.

        Args:
            folder: where the shard's results go.
            shard: name of the shard.
            run: name of the run; deaths in other runs do not count.
            attempts: how often samples may be in work when a worker dies.
        """
        self._folder, self._shard, self._name = folder, shard, f".{shard}.journal.json"
        self._run, self._attempts = run, attempts
        self._deaths: Counter[str] = Counter()
        self.alert = False

    def open(self) -> None:
        """Begin the shard; `alert` is true if a worker died over it before.

        Raises:
            UmgclipError: workers died too often while none of its samples was in work.
        """
        try:
            state = json.loads(self._folder.read(self._name, _MOST_BYTES))
        except (DataError, ValueError):
            state = {}
        self.alert = state.get("run") == self._run
        if self.alert:
            self._deaths.update(state["deaths"])
            self._deaths[_name(state["at"])] += 1
        if self._deaths[_NOBODY] > self._attempts:
            raise UmgclipError(
                f"annotate: {self._deaths[_NOBODY]} workers died over {self._folder}/{self._shard} before its first "
                "sample or while its results were written; check free memory and disk space"
            )
        self._write([])

    def take_up(self, keys: Sequence[str]) -> None:
        """Record the samples that come next, if a worker died over this shard before."""
        if self.alert:
            self._write(keys)

    def is_deadly(self, keys: Sequence[str]) -> bool:
        """Return whether workers died too often while exactly these samples were in work."""
        return self._deaths[_name(keys)] >= self._attempts

    def close(self) -> None:
        """Delete the journal: the shard is done, or the worker leaves it without having died."""
        self._folder.delete(self._name)

    def _write(self, at: Sequence[str]) -> None:
        with placed(self._folder, self._name) as temporary:
            state = {"run": self._run, "at": list(at), "deaths": self._deaths}
            temporary.write_text(json.dumps(state), encoding="utf-8")


def _name(keys: Sequence[str]) -> str:
    return f"{keys[0]}+{len(keys)}" if keys else _NOBODY
