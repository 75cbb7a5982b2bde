"""Text embeddings that were asked for lately, so that the labels of many requests are embedded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from jaxtyping import Float
from torch import Tensor


class TextCache:
    """A bounded mapping from prompt to embedding that forgets what was not used for longest; safe between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def __reduce__(self) -> tuple[type[TextCache], tuple[int]]:
        """Copied or pickled it is an empty one: a lock is for one process, and embeddings are soon made again."""
        return TextCache, (self._size,)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, prompt: str) -> bool:
        return prompt in self._rows

    def get(self, prompts: Iterable[str], *, again: bool = False) -> dict[str, Float[Tensor, "d"]]:
        """Those of the prompts that are known; each prompt counts as a hit or a miss, unless it is asked for again."""
        found = {}
        with self._lock:
            for prompt in prompts:
                row = self._rows.get(prompt)
                if row is None:
                    self.misses += not again
                    continue
                self.hits += not again
                self._rows.move_to_end(prompt)
                found[prompt] = row
        return found

    def put(self, rows: Mapping[str, Float[Tensor, "d"]]) -> None:
        """Remember embeddings; a row that is part of a larger tensor is copied out of it."""
        with self._lock:
            for prompt, row in rows.items():
                self._rows[prompt] = row.clone()
                self._rows.move_to_end(prompt)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)
